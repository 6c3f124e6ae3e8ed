-- adopt(worker, uids, tasks): what the worker owns, under new epochs; {instances, tasks}.

local me, taken, taken_tasks = R[1], {}, {}
for _, uid in ipairs(R[2]) do
  local row = find(uid)
  if owns(me, row) then
    touch(row)
    row[EPOCH], row[WAKE_AT] = row[EPOCH] + 1, nil
    taken[#taken + 1] = uid
  end
end
for _, key in ipairs(R[3]) do
  local task = find_task(key)
  if holds(me, task) then
    touch(task)
    task[T_EPOCH] = task[T_EPOCH] + 1
    taken_tasks[#taken_tasks + 1] = key
  end
end
tell = false
flush()
local instances, tasks_taken = {}, {}
for n, uid in ipairs(taken) do instances[n] = {stored(uid), stored_messages(uid)} end
for n, key in ipairs(taken_tasks) do tasks_taken[n] = stored_task(key) end
return {instances, tasks_taken}
