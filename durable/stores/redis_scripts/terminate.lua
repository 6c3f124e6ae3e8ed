-- terminate(id, message id, events, reason, reply, close): end an instance now, whoever owns it.

local row, answer = target(find_id(R[1]), R[2], 0)
if not row then return answer end
receive(row, R[2])
terminate(row, R[3], R[4])
reply(row, R[5])
close_children(row.uid, row[RUN], R[6])
flush()
return 'sent'
