-- What every script begins with: the tables of a partition, its rows, and how they change.
--
-- A script of Redis is atomic but never rolled back.  So:
--
-- * A script reads, decides and changes rows in Lua; `flush` at its end is the only place
--   that writes.  Whatever fails before leaves everything as it was.
-- * All keys are declared.  A partition is a fixed number of tables, all in one slot, and
--   every script is given all of them; no key is made of data.
-- * What an SQL database would find through an index is found in a sorted set whose members
--   all have the score 0: then they are ordered byte by byte, and a range of them is a
--   range of the index.  A text in such a member has its length before it (`text`), a moment
--   and a number are big-endian (`be8`, `be4`): no value can be taken for another one.
-- * The time is the server's, and the same for a whole script.
-- * Lua allows 200 local names in one function, and nearly as many stand here: what only one
--   function uses stands in it.
--
-- A row is msgpack, too, of all its values in turn, without a head.
--
-- The tables of a partition.  uid is 16 bytes; task is uid, run, command (be4 both).
--
--   ids          hash   id                          uid
--   instances    hash   uid                         row of `FIELDS`
--   payloads     hash   letter uid                  bytes: see `PAYLOADS_OF`
--   history      hash   uid be4(run) be4(seq)       events from seq on (a msgpack array)
--   inbox        index  uid be8(number)             what waits, in order
--   messages     hash   uid be8(number)             row: message id, arrived at, run or 0, event
--   receipts     index  uid message id
--   tasks        hash   task                        row of `TASK_FIELDS`
--   task_inputs  hash   task                        {args, kwargs, options, context}
--   task_index   index  task                        the tasks of an instance
--   due          index  text("") text(queue) text(name) be8(wake_at) uid   free instances
--                       text(owner) be8(wake_at) uid                       of workers
--   ready        index  text(queue) text(name) be8(wake_at) task           free tasks
--   held         index  text(owner) "i" uid | "t" task | "c" task          who owns what;
--                       c: a task whose cancel was requested
--   blocked      index  text(queue) text(name) uid  what rests until another build comes
--   listed       index  status be8(created_at) uid  status is one byte, see `CODE`
--   ended        index  status be8(finished_at) uid
--   tagged       index  text(tag) be8(created_at) uid
--   children     index  uid of the parent, uid
--   workers      hash   id                          {host, machine, pid, build, queues, slots,
--                                                    workflows, activities, started_at, word}
--   leases       hash   id                          when its lease ends
--   outbox       index  partition be8(number)       what is for other partitions, in order;
--                                                   partition is one byte
--   outgoing     hash   partition be8(number)       the effect there: a msgpack map
--   kin          index  uid partition               where else an instance has children
--   settings     hash   schema, secret, partitions; number: of the last message;
--                       sent: number of the last effect that went to the outbox;
--                       taken <partition>: of the last that was taken from there
--   changes      the channel on which a change is told
--
-- name: of a task, or what a worker must know to run an instance, with what code has refused
-- under a name of its own (see refusals.py).

local IDS, INSTANCES, PAYLOADS, HISTORY, INBOX, MESSAGES, RECEIPTS, TASKS, TASK_INPUTS,
  TASK_INDEX, DUE, READY, HELD, BLOCKED, LISTED, ENDED, TAGGED, CHILDREN, WORKERS, LEASES,
  OUTBOX, OUTGOING, KIN, SETTINGS, CHANGES = unpack(KEYS)

local R = cmsgpack.unpack(ARGV[1])  -- what the verb was called with
local SENDER = ARGV[2]              -- who is told of the change already
local HERE = tonumber(ARGV[3])      -- this partition
local PARTITIONS = tonumber(ARGV[4])  -- how many there are; ARGV[5]: see redis_keys.py

local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000000 + TIME[2]

local PARKED, UNKNOWN, SEPARATOR = '(paused)', 'unknown', '\31'

-- FIELDS of an instance.
local ID, WORKFLOW, VERSION, QUEUE, RUN, STATUS, OWNER, EPOCH, WAKE_AT, LENGTH, CRASHES,
  BLOCKED_BY, REASON, CREATED_AT, STARTED_AT, FINISHED_AT, TOKEN, PARENT_UID, PARENT_ID,
  PARENT_RUN, PARENT_COMMAND, PARENT_CLOSE, TAGS =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
local FIELDS = 23

-- PAYLOADS_OF an instance: the letter before its uid, by what it holds.
local ARGS, KWARGS, VARS, RESULT, FAILURE, MEMO, HEADER, UNREAD =
  'a', 'k', 'v', 'r', 'f', 'm', 'h', 'u'
local PAYLOADS_OF = {ARGS, KWARGS, VARS, RESULT, FAILURE, MEMO, HEADER, UNREAD}

-- TASK_FIELDS.
local T_ID, T_NAME, T_QUEUE, T_OWNER, T_EPOCH, T_WAKE_AT, T_ATTEMPT, T_CRASHES, T_CANCEL,
  T_DEADLINE, T_LAST_ERROR, T_SCHEDULED_AT, T_DETAILS, T_DEFERRALS, T_AWAITS =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
local TASK_FIELDS = 15
local MESSAGE_FIELDS = 4

local CODE = {
  pending = 'a', running = 'b', blocked = 'c', paused = 'd',
  completed = 'e', failed = 'f', cancelled = 'g', terminated = 'h',
}
local NONE = {}
local FINISHED = {completed = true, failed = true, cancelled = true, terminated = true}

-- ---- bytes ------------------------------------------------------------------------------

-- A function that works out each value once.
local function remembered(work)
  local known = {}
  return function(value)
    local found = known[value]
    if not found then
      found = work(value)
      known[value] = found
    end
    return found
  end
end

local text = remembered(function(value)
  if #value > 65535 then error('a name has ' .. #value .. ' bytes: at most 65535 can be kept') end
  return struct.pack('>I2', #value) .. value
end)

local function be4(number)
  return struct.pack('>I4', number)
end

local function be8(number)
  return struct.pack('>I8', math.max(number, 0))
end

-- A fixed number of values, of which any may be nil, as a row: the msgpack of one after the other.
local function packed_row(values, count)
  return cmsgpack.pack(unpack(values, 1, count))
end

-- How many elements a msgpack array has.
local function count_of(packed)
  local first = string.byte(packed)
  if first >= 144 and first <= 159 then return first - 144 end
  if first == 220 then return (struct.unpack('>I2', packed, 2)) end
  return (struct.unpack('>I4', packed, 2))
end

-- The first text after all that begin with a prefix.
local function beyond(prefix)
  local last = #prefix
  while prefix:byte(last) == 255 do last = last - 1 end
  return prefix:sub(1, last - 1) .. string.char(prefix:byte(last) + 1)
end

-- The members of an index that begin with a prefix, at most limit if one is given.
local function with_prefix(index, prefix, limit)
  return redis.call(
    'ZRANGEBYLEX', index, '[' .. prefix, '(' .. beyond(prefix), 'LIMIT', 0, limit or -1)
end

local function whole(count, ...)
  if select('#', ...) ~= count then error('a row is damaged') end
  return ...
end

-- The values of a packed row.
local function values_of(packed, count)
  return whole(count, cmsgpack.unpack(packed))
end

-- ---- what is to be written --------------------------------------------------------------

local AT_ONCE = 6000     -- arguments of one command; 7,000 is what Lua can unpack

local fields = {}        -- hash -> field -> what it is to be, or false for gone
local members = {}       -- index -> member -> whether it is to be there
local ranges_gone = {}   -- {index, prefix}: all members that begin with it go
local touched = {}       -- rows and tasks that change
local grown = {}         -- rows of which no index has anything that changes
local last_number        -- of the last message, once it has been asked for
local tell = true        -- whether others may be waiting for this

local function put(hash, field, value)
  fields[hash] = fields[hash] or {}
  fields[hash][field] = value
end

local function drop(hash, field)
  put(hash, field, false)
end

local function enter(index, member)
  members[index] = members[index] or {}
  members[index][member] = true
end

local function leave(index, member)
  members[index] = members[index] or {}
  members[index][member] = false
end

local function set_payload(row, letter, value)
  if value or not row.born then put(PAYLOADS, letter .. row.uid, value or false) end
end

-- To be called before a row or a task is changed: remembers where the indexes have it.
local function touch(one)
  if not one.before then
    one.before = one.kind.places(one)
    touched[#touched + 1] = one
  end
end

-- The index of a place: a key, or one with '#' and a word behind it.
local index_of = remembered(function(place)
  return place:match('^[^#]+')
end)

-- A row or a task is to be written, and moved in the indexes from where it was.
local function settle_one(one)
  local kind = one.kind
  local before, after = one.before, one.gone and NONE or kind.places(one)
  for place, member in pairs(before) do
    if after[place] ~= member then leave(index_of(place), member) end
  end
  for place, member in pairs(after) do
    if before[place] ~= member then enter(index_of(place), member) end
  end
  put(kind.hash, one.key, not one.gone and packed_row(one, kind.count))
end

-- One command for many arguments, or as few as can be.
local function in_parts(command, key, arguments)
  for first = 1, #arguments, AT_ONCE do
    redis.call(command, key, unpack(arguments, first, math.min(first + AT_ONCE - 1, #arguments)))
  end
end

local function write_hash(hash, values)
  local set, gone = {}, {}
  for field, value in pairs(values) do
    if value then
      set[#set + 1] = field
      set[#set + 1] = value
    else
      gone[#gone + 1] = field
    end
  end
  in_parts('HSET', hash, set)
  in_parts('HDEL', hash, gone)
end

local function write_index(index, there)
  local set, gone = {}, {}
  for member, is_there in pairs(there) do
    if is_there then
      set[#set + 1] = 0
      set[#set + 1] = member
    else
      gone[#gone + 1] = member
    end
  end
  in_parts('ZADD', index, set)
  in_parts('ZREM', index, gone)
end

-- Write everything, and tell who waits.
local function flush()
  for _, row in ipairs(grown) do
    if not row.before then put(INSTANCES, row.uid, packed_row(row, row.kind.count)) end
  end
  for _, one in ipairs(touched) do settle_one(one) end
  if last_number then put(SETTINGS, 'number', last_number) end
  for hash, values in pairs(fields) do write_hash(hash, values) end
  for index, there in pairs(members) do write_index(index, there) end
  for _, range in ipairs(ranges_gone) do
    redis.call('ZREMRANGEBYLEX', range[1], '[' .. range[2], '(' .. beyond(range[2]))
  end
  if tell then redis.call('PUBLISH', CHANGES, SENDER) end
end

-- ---- instances --------------------------------------------------------------------------

local rows, uids = {}, {}  -- what was looked up: by uid, by id; false if there is none
local born = {}            -- rows that this script creates

local function finished(row)
  return FINISHED[row[STATUS]]
end

-- The name under which an instance is found.
local function name_of(row)
  local need = row[WORKFLOW]
  if row[VERSION] then need = string.format('%s@%.0f', need, row[VERSION]) end
  local by = row[BLOCKED_BY]
  if by == '' or by == UNKNOWN then return need end
  return need .. SEPARATOR .. by
end

-- Where the indexes have an instance. (Two places in one index: the key, '#', a word.)
local function places_of_instance(row)
  local uid, owner, wake_at = row.uid, row[OWNER], row[WAKE_AT]
  local code, created = CODE[row[STATUS]], be8(row[CREATED_AT])
  local due, held, blocked
  if owner == '' then
    local range = text(row[QUEUE]) .. text(name_of(row)) .. (wake_at and be8(wake_at) or '') .. uid
    if wake_at then
      due = text('') .. range
    elseif row[STATUS] == 'blocked' and row[BLOCKED_BY] ~= '' then
      blocked = range
    end
  elseif owner ~= PARKED then
    held = text(owner) .. 'i' .. uid
    due = wake_at and text(owner) .. be8(wake_at) .. uid
  end
  local places = {
    [LISTED] = code .. created .. uid,
    [DUE] = due,
    [HELD] = held,
    [BLOCKED] = blocked,
    [ENDED] = row[FINISHED_AT] and code .. be8(row[FINISHED_AT]) .. uid,
    [CHILDREN] = row[PARENT_UID] and row[PARENT_UID] .. uid,
  }
  for n, tag in ipairs(row[TAGS] or NONE) do
    places[TAGGED .. '#' .. n] = text(tag) .. created .. uid
  end
  return places
end

local INSTANCE = {hash = INSTANCES, count = FIELDS, places = places_of_instance}

-- Its values and what is kept beside them, in a table that need not grow: there are many.
local function as_instance(uid, ...)
  local row = {
    key = uid, uid = uid, kind = INSTANCE, before = false, gone = false, waiting = false,
    taken = false, added = false, new_tasks = false, ...
  }
  rows[uid] = row
  return row
end

-- The instance with this uid, or nil.
local function find(uid)
  if rows[uid] == nil then
    local packed = redis.call('HGET', INSTANCES, uid)
    if not packed then
      rows[uid] = false
    else
      as_instance(uid, values_of(packed, FIELDS))
    end
  end
  return rows[uid] or nil
end

-- The instance with this id, or nil.
local function find_id(id)
  if uids[id] == nil then uids[id] = redis.call('HGET', IDS, id) end
  return uids[id] and find(uids[id]) or nil
end

-- Somebody must look at it now, if not already before.
local function wake(row)
  if not row[WAKE_AT] or row[WAKE_AT] > NOW then
    touch(row)
    row[WAKE_AT] = NOW
  end
end

-- Whether its start is later. A paused one that has not begun will be pending again.
local function delayed(row)
  local begins = row[STATUS] == 'pending' or (row[STATUS] == 'paused' and row[LENGTH] == 0)
  return begins and row[WAKE_AT] and row[WAKE_AT] > NOW
end

-- Add events (a msgpack array) to the history of its present run.
local function append(row, events)
  local count = count_of(events)
  if count > 0 then
    put(HISTORY, row.uid .. be4(row[RUN]) .. be4(row[LENGTH]), events)
    row[LENGTH] = row[LENGTH] + count
  end
end

-- ---- messages ---------------------------------------------------------------------------

-- Whether a message with this id has ever come.
local function received(row, message_id)
  local receipt = row.uid .. message_id
  return (members[RECEIPTS] or NONE)[receipt] or redis.call('ZSCORE', RECEIPTS, receipt)
end

local function receive(row, message_id)
  enter(RECEIPTS, row.uid .. message_id)
end

-- How many messages wait for an instance.
local function waiting(row)
  if not row.waiting then
    row.waiting = redis.call('ZLEXCOUNT', INBOX, '[' .. row.uid, '(' .. beyond(row.uid))
  end
  return row.waiting
end

local function waits(row, number)
  return redis.call('ZSCORE', INBOX, row.uid .. be8(number))
end

local function drop_message(row, member)
  row.taken = row.taken or {}
  if not row.taken[member] then
    row.taken[member] = true
    row.waiting = waiting(row) - 1
    leave(INBOX, member)
    drop(MESSAGES, member)
  end
end

-- What waits for it, as members of the inbox.
local function letters(row)
  local found = {}
  if waiting(row) > 0 then
    local taken = row.taken or NONE
    for _, member in ipairs(with_prefix(INBOX, row.uid)) do
      if not taken[member] then found[#found + 1] = member end
    end
    for _, member in ipairs(row.added or NONE) do
      if not taken[member] then found[#found + 1] = member end
    end
  end
  return found
end

-- Put a message into an inbox, once, and wake whoever may be woken by it.
-- run: if not 0, the only run that it is for; when that is over, it is dropped.
local function deliver(row, message_id, event, urgent, run)
  if finished(row) or (run ~= 0 and run ~= row[RUN]) or received(row, message_id) then return end
  receive(row, message_id)
  last_number = (last_number or tonumber(redis.call('HGET', SETTINGS, 'number') or 0)) + 1
  local member = row.uid .. be8(last_number)
  row.waiting = waiting(row) + 1
  row.added = row.added or {}
  row.added[#row.added + 1] = member
  enter(INBOX, member)
  put(MESSAGES, member, packed_row({message_id, NOW, run, event}, MESSAGE_FIELDS))
  if row[BLOCKED_BY] == '' and (urgent or not delayed(row)) then wake(row) end
end

-- The instance that a message goes to; or nil and the answer, if it is not to be taken (now).
local function target(row, message_id, run)
  if not row then return nil, 'not found' end
  if received(row, message_id) then return nil, 'sent' end
  if finished(row) or (run ~= 0 and run ~= row[RUN]) then return nil, 'finished' end
  return row
end

-- ---- tasks ------------------------------------------------------------------------------

local tasks = {}

local function places_of_task(task)
  local key, owner = task.key, task[T_OWNER]
  if owner == '' then
    return {
      [TASK_INDEX] = key,
      [READY] = text(task[T_QUEUE]) .. text(task[T_NAME]) .. be8(task[T_WAKE_AT]) .. key,
    }
  end
  local places = {[TASK_INDEX] = key, [HELD] = text(owner) .. 't' .. key}
  if task[T_CANCEL] then places[HELD .. '#c'] = text(owner) .. 'c' .. key end
  return places
end

local TASK = {hash = TASKS, count = TASK_FIELDS, places = places_of_task}

local function as_task(key, ...)
  local task = {key = key, kind = TASK, before = false, gone = false, ...}
  tasks[key] = task
  return task
end

local function task_key(uid, run, command)
  return struct.pack('>c16I4I4', uid, run, command)
end

-- The task with this key, or nil.
local function find_task(key)
  if tasks[key] == nil then
    local packed = redis.call('HGET', TASKS, key)
    if not packed then
      tasks[key] = false
    else
      as_task(key, values_of(packed, TASK_FIELDS))
    end
  end
  local task = tasks[key]
  return task and not task.gone and task or nil
end

-- Whether a worker holds a task, at this epoch if one is given. Nobody ('') holds nothing.
local function holds(worker, task, epoch)
  return task and worker ~= '' and task[T_OWNER] == worker and (not epoch or task[T_EPOCH] == epoch)
end

-- Whether a worker owns an instance.
local function owns(worker, row)
  return row and worker ~= '' and row[OWNER] == worker
end

local function drop_task(task)
  touch(task)
  task.gone = true
  drop(TASK_INPUTS, task.key)
end

local function drop_tasks(row)
  for _, key in ipairs(with_prefix(TASK_INDEX, row.uid)) do
    local task = find_task(key)
    if task then drop_task(task) end
  end
  for _, task in ipairs(row.new_tasks or NONE) do
    if not task.gone then drop_task(task) end
  end
end
