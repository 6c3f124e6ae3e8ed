-- read(ids, uids): instances by id and by uid, as they are stored; those that exist.

local found = {}
for _, id in ipairs(R[1]) do
  local uid = redis.call('HGET', IDS, id)
  if uid then found[#found + 1] = stored(uid) end
end
for _, uid in ipairs(R[2]) do found[#found + 1] = stored(uid) end
return found
