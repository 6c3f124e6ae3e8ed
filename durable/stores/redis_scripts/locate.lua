-- locate(uids): which of these are here: those, one after the other.

local found = {}
for _, uid in ipairs(R[1]) do
  if redis.call('HEXISTS', INSTANCES, uid) == 1 then found[#found + 1] = uid end
end
return found
