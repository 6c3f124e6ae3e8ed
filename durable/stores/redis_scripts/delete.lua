-- delete(id): a finished instance and all that it owned.

local row = find_id(R[1])
if not row then return 'not found' end
if not finished(row) then return 'not finished' end
remove(row)
flush()
return 'sent'
