-- pause(id, message id, events): let nobody look at an instance.

local row, answer = target(find_id(R[1]), R[2], 0)
if not row then return answer end
if row[STATUS] == 'paused' then return 'refused' end
touch(row)
receive(row, R[2])
-- What a worker has in its hands has no moment, and what the worker makes of it is lost; and
-- only a look shows that a deadlock is one still.
local lost = row[OWNER] ~= '' or row[STATUS] == 'blocked'
if lost and not row[WAKE_AT] and row[BLOCKED_BY] == '' then row[WAKE_AT] = NOW end
if row[LENGTH] > 0 then append(row, R[3]) end
row[STATUS], row[OWNER], row[EPOCH] = 'paused', PARKED, row[EPOCH] + 1
flush()
return 'sent'
