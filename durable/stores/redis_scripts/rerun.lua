-- rerun(id, message id, run, next): begin another run of what has ended in this one; its open
-- children go with it.

local row = find_id(R[1])
if not row then return 'not found' end
if received(row, R[2]) then return 'sent' end
if row[RUN] ~= R[3] or not finished(row) then return 'refused' end
receive(row, R[2])
take_along(row)
touch(row)
set_payload(row, UNREAD, nil)
row[EPOCH] = row[EPOCH] + 1
next_run(row, R[4], 'pending')
flush()
return 'sent'
