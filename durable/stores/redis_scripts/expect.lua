-- expect({uid, partition, …}): these instances will have children in these partitions.

for n = 1, #R[1], 2 do
  if find(R[1][n]) then enter(KIN, R[1][n] .. string.char(R[1][n + 1])) end
end
tell = false
flush()
return 0
