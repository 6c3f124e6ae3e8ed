-- clear({{member, more}, …}): remove what is in the outbox up to these members of its lanes, as it
-- was taken; more: show what follows.

for _, lane in ipairs(R[1]) do
  local last = lane[1]
  for _, member in ipairs(redis.call('ZRANGEBYLEX', OUTBOX, '[' .. last:sub(1, 1), '[' .. last)) do
    leave(OUTBOX, member)
    drop(OUTGOING, member)
  end
  if lane[2] then lanes[last:byte()] = true end
end
tell = false
flush()
return 0
