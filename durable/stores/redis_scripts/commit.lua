-- commit(worker, limit, steps): the steps that hold, together.
-- Answers {the first letter of the verdict for each, whether others may be waiting for this}.
--
-- Rules
-- -----
-- * All steps are judged first: owner, epoch, run and history length of the instance, owner
--   and epoch of each task that is done, and whether its messages are (all) those that wait.
-- * Then those that hold are applied.  Then what they start is created, what they send is
--   delivered, and last the parents are told and the children closed: each meets the others
--   as this commit leaves them.

local me, limit = R[1], R[2]
local RUNNING = {status = 'running', reason = ''}

local function ends(step)
  return step.ending and FINISHED[step.ending.status]
end

local function judge(step)
  local row = find(step.uid)
  if not owns(me, row) or row[RUN] ~= step.run
    or row[EPOCH] ~= step.epoch or row[LENGTH] ~= step.length then
    return 'lost'
  end
  for _, done in ipairs(step.done or NONE) do
    local task = find_task(task_key(step.uid, step.run, done.command))
    if not holds(me, task, done.epoch) then return 'lost' end
  end
  local count = 0
  for number in pairs(step.messages and set_of(step.messages) or NONE) do
    if not waits(row, number) then return 'lost' end
    count = count + 1
  end
  local delays = step.next and step.next.start_at > NOW
  if (ends(step) or delays) and waiting(row) > count then return 'unseen' end
  return 'committed'
end

local function add_task(row, new)
  local key = task_key(row.uid, row[RUN], new.command)
  local owner = new.owner
  local task = as_task(
    key, row[ID], new.name, new.queue, owner, owner ~= '' and 1 or 0, new.wake_at, 1, 0, false,
    new.deadline, nil, NOW, nil, 0, false)
  task.before, row.new_tasks = NONE, row.new_tasks or {}
  touched[#touched + 1], row.new_tasks[#row.new_tasks + 1] = task, task
  put(TASK_INPUTS, key, new.inputs)
end

local function cancel(row, one)
  local task = find_task(task_key(row.uid, row[RUN], one.command))
  if not task then return end
  if task[T_OWNER] ~= '' then
    touch(task)
    task[T_CANCEL] = true
  else
    drop_task(task)
    deliver(row, one.message_id, one.answer, false, row[RUN])
  end
end

-- Code has refused it: others may try, now if there are any.
local function refuse(row, status, word)
  local by = row[BLOCKED_BY]
  if by == UNKNOWN then by = '' end
  if not (' ' .. by .. ' '):find(' ' .. word .. ' ', 1, true) then
    by = by == '' and word or by .. ' ' .. word
  end
  row[STATUS], row[BLOCKED_BY], row[OWNER], row[WAKE_AT] = status, by, '', nil
  if able(row[QUEUE], name_of(row)) then row[WAKE_AT] = NOW end
end

-- Whether a step only makes the history longer: nothing that an index has changes. (The answer to
-- a cancel is a message, which changes when somebody must look.)
local function grows(row, step)
  return not (step.next or step.ending or step.release or step.version or step.messages
    or step.cancels)
    and row[STATUS] == 'running' and row[BLOCKED_BY] == ''
    and row[WAKE_AT] == step.wake_at and waiting(row) == 0
end

-- All of a step but what concerns other instances.
local function apply(step)
  local row, last = find(step.uid), step.ending or RUNNING
  if grows(row, step) then grown[#grown + 1] = row else touch(row) end
  append(row, step.events)
  for number in pairs(step.messages and set_of(step.messages) or NONE) do drop_message(row, row.uid .. be8(number)) end
  for _, done in ipairs(step.done or NONE) do
    drop_task(find_task(task_key(row.uid, row[RUN], done.command)))
  end
  if step.version then row[VERSION] = step.version end
  if step.vars then set_payload(row, VARS, step.vars) end
  if not row[STARTED_AT] and last.status ~= 'blocked' then row[STARTED_AT] = NOW end
  row[REASON], row[CRASHES] = last.reason, 0
  if step.next then
    next_run(row, step.next, step.next.start_at > NOW and 'pending' or 'running')
  elseif ends(step) then
    finish(row, last.status)
    set_payload(row, RESULT, last.result)
    set_payload(row, FAILURE, last.failure)
    set_payload(row, UNREAD, last.unread)
    if last.header then set_payload(row, HEADER, last.header) end
  else
    for _, new in ipairs(step.tasks or NONE) do add_task(row, new) end
    for _, one in ipairs(step.cancels or NONE) do cancel(row, one) end
    if last.word then
      refuse(row, last.status, last.word)
    else
      row[STATUS], row[BLOCKED_BY] = last.status, ''
      if step.release then row[OWNER] = '' end
      row[WAKE_AT] = waiting(row) > 0 and NOW or step.wake_at
    end
  end
end

-- To whom an answer goes: to the run that has asked, while it lasts.
local function who(step)
  return {id = find(step.uid)[ID], uid = step.uid, run = step.run}
end

local function send(step)
  for _, message in ipairs(step.sends or NONE) do
    local partition = message.partition or partition_of(message.id)
    affect(partition, 'post', {message = message, limit = limit, who = who(step)})
  end
end

-- Whether anybody else may be waiting for this step.
local function notable(step)
  local row = find(step.uid)
  local due = step.release and step.wake_at and step.wake_at <= NOW
  if due or step.ending or step.next or waiting(row) > 0 or step.sends
    or step.starts or step.cancels then
    return true
  end
  for _, task in ipairs(step.tasks or NONE) do
    if task.owner == '' then return true end
  end
  return false
end

local verdicts, initials, committed = {}, {}, {}
for n, step in ipairs(R[3]) do
  verdicts[n] = judge(step)
  initials[n] = verdicts[n]:sub(1, 1)
end
tell = false
for n, step in ipairs(R[3]) do
  if verdicts[n] == 'unseen' then
    wake(find(step.uid))
    tell = true
  elseif verdicts[n] == 'committed' then
    apply(step)
    committed[#committed + 1] = step
  end
end
for _, step in ipairs(committed) do
  for _, start in ipairs(step.starts or NONE) do
    start_child(who(step), start)
  end
end
for _, step in ipairs(committed) do send(step) end
for _, step in ipairs(committed) do
  local row = find(step.uid)
  if ends(step) then reply(row, step.ending.reply) end
  if ends(step) or step.next then close_children(row.uid, step.run, step.close) end
  -- Whom the next run is to close, it has started itself.
  if step.next and PARTITIONS > 1 then ranges_gone[#ranges_gone + 1] = {KIN, row.uid} end
end
for _, step in ipairs(committed) do tell = tell or notable(step) end
flush()
return {table.concat(initials), tell and 1 or 0}
