-- send(limit, messages): messages into inboxes, each answered for itself.

local answers = {}
for n, message in ipairs(R[2]) do answers[n] = post(message, R[1]) end
flush()
return answers
