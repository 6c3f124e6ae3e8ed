-- remove({uid, run, …}): delete instances that have ended in these runs; how many.

local count = 0
for n = 1, #R[1], 2 do
  local row = find(R[1][n])
  if row and finished(row) and row[RUN] == R[1][n + 1] then
    remove(row)
    count = count + 1
  end
end
tell = count > 0
flush()
return count
