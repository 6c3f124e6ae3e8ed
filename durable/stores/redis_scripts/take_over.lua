-- take_over(workers, crashes, grace or nil): remove workers and release what they own, due now;
-- with a grace, also those whose lease has expired so many microseconds ago.  Answers the ids
-- of those that were registered.  All in one go: a worker owns no more than it can have in its
-- hands.

local workers, ends = set_of(R[1]), {}
local all = redis.call('HGETALL', LEASES)
for n = 1, #all, 2 do
  local id, expires_at = all[n], tonumber(all[n + 1])
  ends[id] = expires_at
  if R[3] and expires_at <= NOW - R[3] then workers[id] = true end
end
local removed = {}
tell = false
for worker in pairs(workers) do
  if ends[worker] then removed[#removed + 1] = worker end
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
  tell = true
end
flush()
return removed
