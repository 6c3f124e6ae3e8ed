-- purge(finished before, statuses, limit): delete what has ended, oldest first; how many.

local found = {}
for _, status in ipairs(R[2]) do
  local range = CODE[status]
  local members = redis.call(
    'ZRANGEBYLEX', ENDED, '[' .. range, '(' .. range .. be8(R[1]), 'LIMIT', 0, R[3])
  for _, member in ipairs(members) do
    found[#found + 1] = {moment(member, range), member:sub(10)}
  end
end
table.sort(found, function(a, b) return a[1] < b[1] end)
local count = math.min(#found, R[3])
for n = 1, count do remove(find(found[n][2])) end
tell = count > 0
flush()
return count
