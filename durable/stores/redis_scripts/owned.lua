-- owned(worker): {uid, epoch, …} of its instances and {task, epoch, …} of its tasks.

local instances, held = {}, {}
local prefix = text(R[1])
for _, member in ipairs(with_prefix(HELD, prefix .. 'i')) do
  local uid = member:sub(#prefix + 2)
  instances[#instances + 1] = uid
  instances[#instances + 1] = find(uid)[EPOCH]
end
for _, member in ipairs(with_prefix(HELD, prefix .. 't')) do
  local key = member:sub(#prefix + 2)
  held[#held + 1] = key
  held[#held + 1] = find_task(key)[T_EPOCH]
end
return {instances, held}
