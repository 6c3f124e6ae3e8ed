-- release(worker, uids): give back instances that the worker has not touched, due now.

for _, uid in ipairs(R[2]) do
  local row = find(uid)
  if owns(R[1], row) then
    touch(row)
    row[OWNER], row[WAKE_AT] = '', NOW
  end
end
flush()
return 0
