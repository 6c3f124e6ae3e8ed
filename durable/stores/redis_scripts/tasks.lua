-- tasks(uid): the tasks of an instance, by run and command.

local found = {}
for n, key in ipairs(with_prefix(TASK_INDEX, R[1])) do found[n] = stored_task(key) end
return found
