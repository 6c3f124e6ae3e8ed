-- purge(finished before, {{status, place}, …}, limit): delete what has ended, oldest first.
--
-- It looks at `limit` instances at most, from these places of the index on ("" is the first),
-- and leaves those that their parents may still want: see durable/purging.py.
-- Answers {how many it deleted, 1 if there is more to look at, the places where it ended, and
-- {uid, run, uid of the parent, its id, its run, …} of those whose parents are elsewhere}.

local before, places, limit = R[1], R[2], R[3]

local found = {}
for n, place in ipairs(places) do
  local range, after = CODE[place[1]], place[2]
  local from = after == '' and '[' .. range or '(' .. after
  local to = '(' .. range .. be8(before)
  for _, member in ipairs(redis.call('ZRANGEBYLEX', ENDED, from, to, 'LIMIT', 0, limit + 1)) do
    found[#found + 1] = {moment(member, range), member, n}
  end
end
table.sort(found, function(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  return a[2] < b[2]
end)
local count, elsewhere = 0, {}
for n = 1, math.min(#found, limit) do
  local member, place = found[n][2], places[found[n][3]]
  local row = find(member:sub(10))
  place[2] = member
  if row[PARENT_UID] and partition_of(row[PARENT_ID]) ~= HERE then
    elsewhere[#elsewhere + 1] = {
      row.uid, row[RUN], row[PARENT_UID], row[PARENT_ID], row[PARENT_RUN],
    }
  elseif not (row[PARENT_UID] and wanted_by(row[PARENT_UID], row[PARENT_RUN])) then
    remove(row)
    count = count + 1
  end
end
tell = count > 0
flush()
local ends = {}
for n, place in ipairs(places) do ends[n] = place[2] end
return {count, #found > limit and 1 or 0, ends, elsewhere}
