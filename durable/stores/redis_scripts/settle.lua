-- settle(completion): a result from outside, whoever holds the task.

local done = R[1]
local row = find(done.uid)
if row and received(row, done.message_id) then return 'sent' end
if not row then return 'not found' end
local task = find_task(task_key(done.uid, done.run, done.command))
if not task or task[T_EPOCH] ~= done.epoch then return 'finished' end
drop_task(task)
deliver(row, done.message_id, done.event, false, done.run)
flush()
return 'sent'
