-- take_over(workers, crashes): remove workers and release what they own, due now. workers:
-- nil stands for all whose lease has expired. Answers how many there were.

local workers = R[1]
if not workers then
  workers = redis.call('ZRANGEBYSCORE', LEASES, '-inf', string.format('%.0f', NOW))
end
local count = 0
for worker in pairs(set_of(workers)) do
  if redis.call('ZSCORE', LEASES, worker) then count = count + 1 end
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
  later('HDEL', WORKERS, worker)
  later('ZREM', LEASES, worker)
end
tell = #workers > 0
flush()
return count
