-- unblock(id, message id): wake what is blocked; any build may try it.

local row, answer = target(find_id(R[1]), R[2], 0)
if not row then return answer end
if row[STATUS] ~= 'blocked' then return 'refused' end
touch(row)
receive(row, R[2])
row[BLOCKED_BY], row[WAKE_AT] = '', NOW
flush()
return 'sent'
