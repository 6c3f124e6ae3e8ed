-- How an instance begins, goes on and ends, and what follows for its family.
--
-- Rules
-- -----
-- * What concerns another instance is one of `EFFECTS` and goes through `affect`, and through
--   nothing else: it happens here and now, or by the outbox where that instance is.
-- * What is for a run of the parent is dropped if that run is over.
-- * A parent that is deleted leaves its children as they are.
-- * A family is closed in one go, as nobody may meet a part of it: ten thousand children that
--   are terminated keep the server from others for about a second.

local function begin(row, new, run, epoch)
  local parent = new.parent or NONE
  row[ID], row[WORKFLOW], row[VERSION] = new.id, new.workflow, new.version
  row[QUEUE], row[RUN], row[STATUS], row[OWNER] = new.queue, run, 'pending', ''
  row[EPOCH], row[WAKE_AT], row[LENGTH], row[CRASHES] = epoch, new.start_at, 0, 0
  row[BLOCKED_BY], row[REASON], row[CREATED_AT] = '', '', new.created_at or NOW
  row[STARTED_AT], row[FINISHED_AT], row[TOKEN] = nil, nil, new.token
  row[PARENT_UID], row[PARENT_ID], row[PARENT_RUN] = parent[1], parent[2], parent[3]
  row[PARENT_COMMAND], row[PARENT_CLOSE] = parent[4], parent[5]
  row[TAGS] = #new.tags > 0 and new.tags or nil
  append(row, new.history)
  set_payload(row, ARGS, new.args)
  set_payload(row, KWARGS, new.kwargs)
  set_payload(row, MEMO, new.memo)
  set_payload(row, HEADER, new.header)
  for _, message in ipairs(new.messages) do deliver(row, message[1], message[2], false, 0) end
end

-- A first run.
local function add(new)
  local row = as_instance(new.uid)
  row.before, row.born = NONE, true
  touched[#touched + 1], born[#born + 1] = row, row
  uids[new.id] = new.uid
  put(IDS, new.id, new.uid)
  begin(row, new, 1, 0)
  return row
end

-- The next run of a finished instance: all new but its uid, receipts and histories.
local function restart(row, new)
  touch(row)
  for _, letter in ipairs({VARS, RESULT, FAILURE, UNREAD}) do set_payload(row, letter, nil) end
  begin(row, new, row[RUN] + 1, row[EPOCH] + 1)
end

-- The run after the present one: with a history of its own, without tasks, and of the inbox
-- with what is for any run.
local function next_run(row, new, status)
  touch(row)
  for _, member in ipairs(letters(row)) do
    local message = redis.call('HGET', MESSAGES, member)
    if message then
      local _, _, run = values_of(message, MESSAGE_FIELDS)
      if run ~= 0 then drop_message(row, member) end
    end
  end
  drop_tasks(row)
  row[RUN], row[STATUS], row[VERSION] = row[RUN] + 1, status, new.version
  row[OWNER], row[WAKE_AT], row[LENGTH], row[CRASHES] = '', new.start_at, 0, 0
  row[BLOCKED_BY], row[REASON], row[FINISHED_AT] = '', '', nil
  append(row, new.history)
  set_payload(row, ARGS, new.args)
  set_payload(row, KWARGS, new.kwargs)
  set_payload(row, HEADER, new.header)
  for _, letter in ipairs({RESULT, FAILURE}) do set_payload(row, letter, nil) end
  for _, message in ipairs(new.messages) do
    deliver(row, message[1], message[2], false, row[RUN])
  end
end

-- End an instance: nobody owns it, nobody looks at it, no tasks, no inbox.
local function finish(row, status)
  touch(row)
  drop_tasks(row)
  for _, member in ipairs(letters(row)) do drop_message(row, member) end
  row[STATUS], row[OWNER], row[WAKE_AT], row[BLOCKED_BY] = status, '', nil, ''
  row[FINISHED_AT] = NOW
end

-- End an instance, whoever owns it.  The first message may be what ends a copy: nothing else
-- says of the events before it that they were copied.
local function terminate(row, events, reason)
  local BEGIN_AGAIN = {[31] = true, [32] = true}  -- the third byte of an event is its kind
  touch(row)
  local message = redis.call('HGET', MESSAGES, with_prefix(INBOX, row.uid, 1)[1] or '')
  if message then
    local _, _, _, event = values_of(message, MESSAGE_FIELDS)
    if BEGIN_AGAIN[event:byte(3)] then append(row, cmsgpack.pack({event})) end
  end
  append(row, events)
  finish(row, 'terminated')
  row[EPOCH], row[REASON] = row[EPOCH] + 1, reason
end

-- What this run of an instance has started and has not ended.
local function children_of(uid, run)
  local found, seen = {}, {}
  local function consider(child)
    if child and not seen[child] and child[PARENT_UID] == uid and child[PARENT_RUN] == run
      and not finished(child) then
      seen[child] = true
      found[#found + 1] = child
    end
  end
  for _, member in ipairs(with_prefix(CHILDREN, uid)) do consider(find(member:sub(17))) end
  for _, child in ipairs(born) do consider(child) end
  return found
end

-- ---- what concerns other instances --------------------------------------------------------

local EFFECTS = {}

-- Do this to an instance, wherever it is.
local function affect(partition, kind, effect)
  if partition == HERE then
    EFFECTS[kind](effect)
  else
    send_away(partition, kind, effect)
  end
end

-- {uid, message_id, event, run}: an answer to what an instance has asked.
function EFFECTS.answer(effect)
  local row = find(effect.uid)
  if row then deliver(row, effect.message_id, effect.event, false, effect.run) end
end

-- who: {id, uid, run} of who has asked.
local function answer(who, message_id, event)
  affect(partition_of(who.id), 'answer', {uid = who.uid, run = who.run, message_id = message_id, event = event})
end

-- Deliver a message, or say why not. limit: how many may wait for one instance.
local function post(message, limit)
  local found
  if message.uid then found = find(message.uid) else found = find_id(message.id) end
  local row, why_not = target(found, message.message_id, message.run)
  if not row then return why_not end
  if waiting(row) >= limit then return 'full' end
  deliver(row, message.message_id, message.event, message.urgent, message.run)
  return 'sent'
end

-- {message, limit, who}: a message to an instance.
function EFFECTS.post(effect)
  local message = effect.message
  local event = message.answers[post(message, effect.limit)]
  if event then answer(effect.who, 'answer:' .. message.message_id, event) end
end

-- {new, message_id, taken, who}: create a child, or tell who starts it that the id is in use.
function EFFECTS.start(effect)
  local new = effect.new
  local found = find_id(new.id)
  if not found then
    add(new)
  elseif found[TOKEN] ~= new.token then
    answer(effect.who, effect.message_id, effect.taken)
  end
end

local function start_child(who, start)
  local partition = partition_of(start.new.id)
  if partition ~= HERE then enter(KIN, who.uid .. string.char(partition)) end
  start.new.created_at = NOW  -- children of one step are listed in their order, wherever they are
  affect(partition, 'start', {
    new = start.new, message_id = start.message_id, taken = start.taken, who = who,
  })
end

local function hex(bytes)
  return (bytes:gsub('.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

-- The receipt that a parent has for a run that its children have not ended with.
local function followed(run)
  return string.format('\31followed:%.0f', run)
end

-- {uid, message_id, event, run}: the end of a child, for its parent.  A rerun that it has not
-- heard of may have overtaken it.
function EFFECTS.tell(effect)
  local row, run = find(effect.uid), effect.run
  if not row then return end
  while PARTITIONS > 1 and run < row[RUN] and received(row, followed(run)) do run = run + 1 end
  deliver(row, effect.message_id, effect.event, false, run)
end

-- Tell the parent, if there is one, how the present run has ended.
local function reply(row, event)
  if not event or not row[PARENT_UID] then return end
  local message_id = string.format('child:%s:%.0f', hex(row.uid), row[RUN])
  affect(partition_of(row[PARENT_ID]), 'tell', {
    uid = row[PARENT_UID], message_id = message_id, event = event, run = row[PARENT_RUN],
  })
end

-- Deal with the open children of a run that has ended, and with theirs.
local function close_children(uid, run, close)
  local ended = close and {{uid, run}} or {}
  while #ended > 0 do
    local one = table.remove(ended)
    for _, child in ipairs(children_of(one[1], one[2])) do
      if child[PARENT_CLOSE] == 'cancel' then
        deliver(child, close.message_id, close.cancelled, true, 0)
      elseif child[PARENT_CLOSE] == 'terminate' then
        terminate(child, close.terminated, close.reason)
        ended[#ended + 1] = {child.uid, child[RUN]}
      end
    end
    for partition in pairs(kin_of(one[1])) do
      send_away(partition, 'close', {uid = one[1], run = one[2], close = close})
    end
  end
end

-- {uid, run, close}: that run has ended, and has children here.
function EFFECTS.close(effect)
  close_children(effect.uid, effect.run, effect.close)
end

-- {uid, run}: the open children of this run are those of the next.
function EFFECTS.follow(effect)
  for _, child in ipairs(children_of(effect.uid, effect.run)) do
    touch(child)
    child[PARENT_RUN] = effect.run + 1
  end
end

-- The children of the present run of an instance go with it to the next.
local function take_along(row)
  local uid, run = row.uid, row[RUN]
  EFFECTS.follow({uid = uid, run = run})
  if PARTITIONS > 1 then receive(row, followed(run)) end
  for partition in pairs(kin_of(uid)) do send_away(partition, 'follow', {uid = uid, run = run}) end
end

-- ---- what goes for good -----------------------------------------------------------------

-- A finished instance goes, with all that it owned.
local function remove(row)
  touch(row)
  row.gone = true
  rows[row.uid], uids[row[ID]] = false, false
  drop(IDS, row[ID])
  for _, letter in ipairs(PAYLOADS_OF) do set_payload(row, letter, nil) end
  ranges_gone[#ranges_gone + 1] = {RECEIPTS, row.uid}
  if PARTITIONS > 1 then ranges_gone[#ranges_gone + 1] = {KIN, row.uid} end
  for run = 1, row[RUN] do
    local seq, of_run = 0, row.uid .. be4(run)
    while true do
      local events = redis.call('HGET', HISTORY, of_run .. be4(seq))
      if not events then break end
      drop(HISTORY, of_run .. be4(seq))
      seq = seq + count_of(events)
    end
  end
end

-- Whether a parent could still ask for a child of this run: see durable/purging.py.
local function wanted_by(uid, run)
  local parent = find(uid)
  if not parent then return false end
  if finished(parent) then return parent[STATUS] == 'failed' or parent[STATUS] == 'cancelled' end
  return parent[RUN] <= run + 1
end
