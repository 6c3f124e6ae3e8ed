-- What is for other partitions.
--
-- Rules
-- -----
-- * A script writes in its own partition only.  What it does to an instance elsewhere is an
--   effect in the outbox, written by the same `flush` as what has caused it.
-- * What the outbox has for one other partition is a lane.  Whoever carries it takes it from
--   its first effect on; so the target takes effects in order, and it remembers the number of
--   the last from each partition: each is taken once, whoever carries it and however often,
--   and whatever became of the instance that it is for.
-- * An effect is removed here when the target has answered.
-- * Numbers grow with the time.  A failover may lose the last effects of a lane; then those
--   that follow have higher numbers, not the same.

local lanes = {}   -- partitions whose lanes are to be carried now
local last_sent    -- number of the last effect that went to the outbox

-- In which partition the instance with an id is: the CRC-32 of the id tells.
local partition_of = remembered(function(id)
  if PARTITIONS == 1 then return HERE end
  local crc = -1
  for n = 1, #id do
    crc = bit.bxor(crc, id:byte(n))
    for _ = 1, 8 do
      local low = bit.band(crc, 1)
      crc = bit.rshift(crc, 1)
      if low == 1 then crc = bit.bxor(crc, 0xEDB88320) end
    end
  end
  return bit.bnot(crc) % 4294967296 % PARTITIONS
end)

local function send_away(partition, kind, effect)
  last_sent = last_sent or tonumber(redis.call('HGET', SETTINGS, 'sent') or 0)
  last_sent = math.max(last_sent + 1, NOW)
  local member = string.char(partition) .. be8(last_sent)
  effect.kind = kind
  enter(OUTBOX, member)
  put(OUTGOING, member, cmsgpack.pack(effect))
  put(SETTINGS, 'sent', string.format('%.0f', last_sent))
  lanes[partition] = true
end

-- Where else this instance has children.
local function kin_of(uid)
  local found = {}
  if PARTITIONS == 1 then return found end
  for _, member in ipairs(with_prefix(KIN, uid)) do found[member:byte(17)] = true end
  for member in pairs(members[KIN] or NONE) do
    if member:sub(1, 16) == uid then found[member:byte(17)] = true end
  end
  return found
end

-- What nobody seems to carry, as it is still there after a second, is to be carried by whoever
-- asks.
local function look_for_left_over()
  local late = NOW - 1000000
  if PARTITIONS == 1 or redis.call('ZCARD', OUTBOX) == 0 then return end
  for partition = 0, PARTITIONS - 1 do
    local first = first_in(OUTBOX, string.char(partition), string.char(partition + 1))
    if first and struct.unpack('>I8', first, 2) < late then lanes[partition] = true end
  end
end

-- The lanes to be carried: {partition, {member, effect, member, effect, …}, 1 if there is more}.
local function lanes_shown()
  local at_once, about_bytes, shown = 500, 8 * 1024 * 1024, {}
  for partition in pairs(lanes) do
    local found, size = {}, 0
    local waiting = with_prefix(OUTBOX, string.char(partition), at_once + 1)
    for n = 1, math.min(#waiting, at_once) do
      local effect = redis.call('HGET', OUTGOING, waiting[n])
      found[2 * n - 1], found[2 * n] = waiting[n], effect
      size = size + #effect
      if size > about_bytes then break end
    end
    if #found > 0 then
      shown[#shown + 1] = {partition, found, #found / 2 < #waiting and 1 or 0}
    end
  end
  return shown
end
