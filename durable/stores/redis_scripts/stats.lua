-- stats(): {status, how many, …}, tasks, free tasks, messages, workers, first wake_at or "".

local counts, first = {}, nil
for status, code in pairs(CODE) do
  counts[#counts + 1] = status
  counts[#counts + 1] = redis.call('ZLEXCOUNT', LISTED, '[' .. code, '(' .. beyond(code))
end
local function look(prefix)
  local from = prefix
  while true do
    local member = first_in(DUE, from, beyond(prefix))
    if not member then return end
    local size = struct.unpack('>I2', member, #prefix + 1)
    local queue = member:sub(1, #prefix + 2 + size)
    for _, range in ipairs(ranges(DUE, queue)) do
      local at = moment(range[3], range[2])
      if not first or at < first then first = at end
    end
    from = beyond(queue)
  end
end
look(text(''))
return {
  counts, redis.call('ZCARD', TASK_INDEX), redis.call('ZCARD', READY), redis.call('ZCARD', INBOX),
  redis.call('HLEN', LEASES), first and string.format('%.0f', first) or '',
}
