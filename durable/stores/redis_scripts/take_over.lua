-- take_over(workers, crashes): remove workers and release what they own, due now. workers:
-- nil stands for all whose lease has expired. Answers how many there were. All in one go: a
-- worker owns no more than it can have in its hands.

local registered, workers, count = leases(), R[1], 0
if not workers then
  workers = {}
  for id, lasts in pairs(registered) do
    if not lasts then workers[#workers + 1] = id end
  end
end
for worker in pairs(set_of(workers)) do
  if registered[worker] ~= nil then count = count + 1 end
  local prefix = text(worker)
  for _, member in ipairs(with_prefix(HELD, prefix .. 'i')) do
    local row = find(member:sub(#prefix + 2))
    touch(row)
    row[OWNER], row[WAKE_AT], row[CRASHES] = '', NOW, row[CRASHES] + R[2]
  end
  for _, member in ipairs(with_prefix(HELD, prefix .. 't')) do
    local task = find_task(member:sub(#prefix + 2))
    touch(task)
    task[T_OWNER], task[T_WAKE_AT], task[T_CRASHES] = '', NOW, task[T_CRASHES] + R[2]
  end
  drop(WORKERS, worker)
  drop(LEASES, worker)
end
tell = #workers > 0
flush()
return count
