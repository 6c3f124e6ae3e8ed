-- resume(id, message id, events): undo a pause.

local row, answer = target(find_id(R[1]), R[2], 0)
if not row then return answer end
if row[STATUS] ~= 'paused' then return 'refused' end
touch(row)
receive(row, R[2])
if row[BLOCKED_BY] ~= '' then
  row[STATUS] = 'blocked'
  row[WAKE_AT] = able(row[QUEUE], name_of(row)) and NOW or nil
else
  row[STATUS] = row[LENGTH] > 0 and 'running' or 'pending'
  if not row[WAKE_AT] and (waiting(row) > 0 or row[LENGTH] == 0) then row[WAKE_AT] = NOW end
end
if row[LENGTH] > 0 then append(row, R[3]) end
row[OWNER], row[EPOCH] = '', row[EPOCH] + 1
flush()
return 'sent'
