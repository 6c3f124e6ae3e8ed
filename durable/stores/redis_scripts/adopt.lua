-- adopt(worker, uids, tasks): what the worker owns, under new epochs; see `taken`. If that is large,
-- a part: it asks for the rest later.

local me, uids, keys = R[1], {}, {}
for _, uid in ipairs(R[2]) do
  local row = find(uid)
  if owns(me, row) and fits_in(uid) then
    touch(row)
    row[EPOCH], row[WAKE_AT] = row[EPOCH] + 1, nil
    uids[#uids + 1] = uid
  end
end
for _, key in ipairs(R[3]) do
  local task = find_task(key)
  if holds(me, task) and task_fits_in(key) then
    touch(task)
    task[T_EPOCH] = task[T_EPOCH] + 1
    keys[#keys + 1] = key
  end
end
tell = false
flush()
return taken(uids, keys)
