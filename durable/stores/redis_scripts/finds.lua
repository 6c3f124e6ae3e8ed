-- Who works, what stands in a range of an index, and how rows are shown.

-- ---- workers ----------------------------------------------------------------------------

local W_BUILD, W_QUEUES, W_WORKFLOWS, W_WORD = 4, 5, 7, 10

local function set_of(values)
  local set = {}
  for _, value in ipairs(values) do set[value] = true end
  return set
end

-- Whether a worker with this word for its build, that knows these, may take this name.
local function fits(name, known, word)
  if known[name] then return true end
  local at = name:find(SEPARATOR, 1, true)
  if not at or not known[name:sub(1, at - 1)] then return false end
  return not (' ' .. name:sub(at + 1) .. ' '):find(' ' .. word .. ' ', 1, true)
end

-- The ids of workers, with whether their lease lasts.
local function leases()
  local found, all = {}, redis.call('HGETALL', LEASES)
  for n = 1, #all, 2 do found[all[n]] = tonumber(all[n + 1]) > NOW end
  return found
end

local live  -- the workers whose lease has not expired, once they have been asked for

local function live_workers()
  if not live then
    live = {}
    for id, lasts in pairs(leases()) do
      local info = lasts and cmsgpack.unpack(redis.call('HGET', WORKERS, id))
      live[#live + 1] = info and {
        queues = set_of(info[W_QUEUES]), known = set_of(info[W_WORKFLOWS]), word = info[W_WORD],
      } or nil
    end
  end
  return live
end

-- Whether a live worker may take what stands in this queue under this name.
local function able(queue, name)
  for _, worker in ipairs(live_workers()) do
    if worker.queues[queue] and fits(name, worker.known, worker.word) then return true end
  end
  return false
end

-- The tasks that a worker holds and was asked to stop: their keys.
local function to_cancel(worker)
  local prefix = text(worker) .. 'c'
  local keys = {}
  for n, member in ipairs(with_prefix(HELD, prefix)) do keys[n] = member:sub(#prefix + 1) end
  return keys
end

-- ---- ranges -----------------------------------------------------------------------------

-- The first member from one text on and before another, or nil.
local function first_in(index, from, before)
  return redis.call('ZRANGEBYLEX', index, '[' .. from, '(' .. before, 'LIMIT', 0, 1)[1]
end

-- The ranges of an index that follow a prefix, found by jumping from one to the next:
-- a list of {name, prefix of the range, its first member}.
local function ranges(index, prefix)
  local found, from = {}, prefix
  while true do
    local first = first_in(index, from, beyond(prefix))
    if not first then return found end
    local size = struct.unpack('>I2', first, #prefix + 1)
    local name = first:sub(#prefix + 3, #prefix + 2 + size)
    local range = first:sub(1, #prefix + 2 + size)
    found[#found + 1] = {name, range, first}
    from = beyond(range)
  end
end

-- The moment in a member of a range.
local function moment(member, range)
  return (struct.unpack('>I8', member, #range + 1))
end

-- The first moment after now in a range, or nil.
local function moment_after(index, range)
  local first = first_in(index, range .. be8(NOW + 1), beyond(range))
  return first and moment(first, range)
end

-- What is due in a range, longest first, at most limit: members.
local function due_in(index, range, limit)
  return redis.call(
    'ZRANGEBYLEX', index, '[' .. range, '(' .. range .. be8(NOW + 1), 'LIMIT', 0, limit)
end

-- ---- answers ----------------------------------------------------------------------------

local function payloads_of(uid)
  local fields = {}
  for n, letter in ipairs(PAYLOADS_OF) do fields[n] = letter .. uid end
  return redis.call('HMGET', PAYLOADS, unpack(fields))
end

-- An instance as it is stored: {uid, row, payload, …}; nil if there is none.
local function stored(uid, payloads)
  local row = redis.call('HGET', INSTANCES, uid)
  if not row then return nil end
  local answer = payloads or payloads_of(uid)
  table.insert(answer, 1, row)
  table.insert(answer, 1, uid)
  return answer
end

-- What waits for an instance: {member, message, member, message, …}.
local function stored_messages(uid)
  local found = {}
  for _, member in ipairs(with_prefix(INBOX, uid)) do
    found[#found + 1] = member
    found[#found + 1] = redis.call('HGET', MESSAGES, member)
  end
  return found
end

-- A task as it is stored: {task, row, inputs}.
local function stored_task(key)
  return {key, redis.call('HGET', TASKS, key), redis.call('HGET', TASK_INPUTS, key)}
end

local luggage = {}     -- uid -> {payloads, messages} of what a worker takes
local room = 16777216  -- bytes that may still be taken at once: more would keep the server busy

-- Whether there is room for an instance, which is taken then. What waits and its payloads do not
-- change by that, so they are read now.
local function fits_in(uid)
  if room <= 0 then return false end
  local payloads, messages = payloads_of(uid), stored_messages(uid)
  for _, values in ipairs({payloads, messages}) do
    for _, value in ipairs(values) do room = room - (value and #value or 0) end
  end
  luggage[uid] = {payloads, messages}
  return true
end

-- Whether there is room for a task, which is taken then.
local function task_fits_in(key)
  if room <= 0 then return false end
  room = room - redis.call('HSTRLEN', TASK_INPUTS, key)
  return true
end

-- What a worker has taken, packed: {instances with their messages, tasks}. An answer of so many
-- parts would take the client longer to read than a packed one.
local function taken(uids, keys)
  local instances, found = {}, {}
  for n, uid in ipairs(uids) do
    instances[n] = {stored(uid, luggage[uid][1]), luggage[uid][2]}
  end
  for n, key in ipairs(keys) do found[n] = stored_task(key) end
  return cmsgpack.pack({instances, found})
end
