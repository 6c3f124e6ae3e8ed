-- complete(worker, completions, postponed): results of tasks become messages, other tasks are
-- given back for another attempt; for each, 1 if the worker (still) held the task.

local function held(one)
  local task = find_task(task_key(one.uid, one.run, one.command))
  return holds(R[1], task, one.epoch) and task
end

-- Its message has come already; or its task is not held, so there is nothing to do.
local function settled(one, task)
  local row = find(one.uid)
  if row and received(row, one.message_id) then return 1 end
  return not task and 0
end

local function postpone(task, one)
  touch(task)
  task[T_OWNER], task[T_WAKE_AT] = '', one.wake_at
  if not one.awaits then task[T_ATTEMPT] = one.attempt end
  if one.last_error then task[T_LAST_ERROR] = one.last_error end
  if one.crashed then task[T_CRASHES] = task[T_CRASHES] + 1 end
  if one.details then task[T_DETAILS] = one.details end
  task[T_DEFERRALS], task[T_AWAITS] = one.deferrals, one.awaits
end

local answers = {}

local function each(all, work)
  for _, one in ipairs(all) do
    local task = held(one)
    local answer = settled(one, task)
    if not answer then
      work(task, one)
      answer = 1
    end
    answers[#answers + 1] = answer
  end
end

local function finish_task(task, one)
  drop_task(task)
  deliver(find(one.uid), one.message_id, one.event, false, one.run)
end

each(R[2], finish_task)
each(R[3], function(task, one)
  if task[T_CANCEL] then finish_task(task, one) else postpone(task, one) end
end)
flush()
return answers
