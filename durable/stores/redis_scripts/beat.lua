-- beat(worker, beats): keep the details of tasks that the worker holds; the tasks to be
-- cancelled.

for _, beat in ipairs(R[2]) do
  local task = find_task(task_key(beat.uid, beat.run, beat.command))
  if beat.details and holds(R[1], task, beat.epoch) then
    touch(task)
    task[T_DETAILS] = beat.details
  end
end
tell = false
flush()
return to_cancel(R[1])
