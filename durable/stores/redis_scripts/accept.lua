-- accept({{partition, {member, effect, …}}, …}): take what has come from other partitions; each
-- effect once, in order.

for _, lane in ipairs(R[1]) do
  local field = 'taken ' .. lane[1]
  local last = tonumber(redis.call('HGET', SETTINGS, field) or 0)
  for n = 1, #lane[2], 2 do
    local number = struct.unpack('>I8', lane[2][n], 2)
    if number > last then
      local effect = cmsgpack.unpack(lane[2][n + 1])
      EFFECTS[effect.kind](effect)
      last = number
    end
  end
  put(SETTINGS, field, string.format('%.0f', last))
end
flush()
return 0
