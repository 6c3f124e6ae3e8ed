-- list(status or nil, tag or nil, parent or nil, before or nil, limit): {uid, row, …}, newest
-- first, at most limit; before: be8(created_at) uid. With a parent: all its children, in no
-- order.

local found = {}

local function show(uid)
  local row = redis.call('HGET', INSTANCES, uid)
  if row then
    found[#found + 1] = uid
    found[#found + 1] = row
  end
end

if R[3] then
  for _, member in ipairs(with_prefix(CHILDREN, R[3])) do show(member:sub(17)) end
  return found
end
local index, range = LISTED, R[1] and CODE[R[1]]
if R[2] then index, range = TAGGED, text(R[2]) end
local members = redis.call(
  'ZREVRANGEBYLEX', index, '(' .. (R[4] and range .. R[4] or beyond(range)), '[' .. range, 'LIMIT', 0, R[5])
for _, member in ipairs(members) do show(member:sub(-16)) end
return found
