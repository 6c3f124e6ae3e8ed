-- claim(worker, queues, workflows, activities, instances, tasks, own, look): take what is due.
-- Answers {see `taken`, next wake_at or "", more, keys of what cannot be read}, or nil if the
-- worker is unknown; if what is due is large, not all that was asked for, and there is more.
-- look: take nothing; answers since when each is due, and how many of its own, instead:
-- {instances, tasks, next wake_at or "", more, own}.

local me, queues = R[1], R[2]
local info = redis.call('HGET', WORKERS, me)
if not info then return false end
local word = cmsgpack.unpack(info)[W_WORD]
look_for_left_over()
local more, first_later = false, nil

local function look_later(index, range)
  local at = moment_after(index, range)
  if at and (not first_later or at < first_later) then first_later = at end
end

-- The due members of these ranges, longest due first, at most limit: {since when, key}.
local function longest_due(index, due, limit)
  local found = {}
  for _, range in ipairs(due) do
    for _, member in ipairs(due_in(index, range, limit + 1)) do
      found[#found + 1] = {moment(member, range), member:sub(#range + 9)}
    end
  end
  table.sort(found, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  if #found > limit then more = true end
  for n = limit + 1, #found do found[n] = nil end
  return found
end

-- The ranges of the worker's queues in which something is due that it can take.
local function due_ranges(index, before, wanted)
  local found = {}
  for queue in pairs(set_of(queues)) do
    for _, range in ipairs(ranges(index, before .. text(queue))) do
      look_later(index, range[2])
      if moment(range[3], range[2]) <= NOW and wanted(range[1]) then
        found[#found + 1] = range[2]
      end
    end
  end
  return found
end

local workflows, activities = set_of(R[3]), set_of(R[4])
local free = due_ranges(DUE, text(''), function(name)
  return R[5] > 0 and fits(name, workflows, word)
end)
local ready = due_ranges(READY, '', function(name) return R[6] > 0 and activities[name] end)

look_later(DUE, text(me))
free, ready = longest_due(DUE, free, R[5]), longest_due(READY, ready, R[6])
local own = longest_due(DUE, {text(me)}, R[7])
local next_wake_at = first_later and string.format('%.0f', first_later) or ''

local function since(due)
  local moments = {}
  for n, one in ipairs(due) do moments[n] = one[1] end
  return moments
end

if R[8] then return {since(free), since(ready), next_wake_at, more and 1 or 0, #own} end

-- What cannot be read stays where it is, and keeps nobody else from being taken.
local uids, keys, damaged = {}, {}, {}
for _, due in ipairs({free, own}) do
  for _, one in ipairs(due) do
    local uid = one[2]
    local sound, row = pcall(find, uid)
    if not (sound and row) then
      damaged[#damaged + 1] = uid
    elseif fits_in(uid) then
      touch(row)
      row[OWNER], row[EPOCH], row[WAKE_AT] = me, row[EPOCH] + 1, nil
      uids[#uids + 1] = uid
    else
      more = true
      break
    end
  end
end
for _, one in ipairs(ready) do
  local key = one[2]
  local sound, task = pcall(find_task, key)
  if not (sound and task) then
    damaged[#damaged + 1] = key
  elseif task_fits_in(key) then
    touch(task)
    task[T_OWNER], task[T_EPOCH] = me, task[T_EPOCH] + 1
    keys[#keys + 1] = key
  else
    more = true
    break
  end
end

tell = false
flush()
return {taken(uids, keys), next_wake_at, more and 1 or 0, damaged}
