-- ended(statuses, limit): when instances have ended in these ways, the earliest of each.

local found = {}
for _, status in ipairs(R[1]) do
  local range = CODE[status]
  for _, member in ipairs(with_prefix(ENDED, range, R[2])) do
    found[#found + 1] = moment(member, range)
  end
end
return found
