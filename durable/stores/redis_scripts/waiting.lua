-- waiting(uid): what is in the inbox, in order; and what nobody had read at the end.

return {stored_messages(R[1]), redis.call('HGET', PAYLOADS, UNREAD .. R[1])}
