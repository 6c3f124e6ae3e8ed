-- rights(): every command with which `flush` writes, on every table, changing nothing: a user
-- who may not run one of them, or a table of another type, must not be found out half-way.

local HASHES = {
  IDS, INSTANCES, PAYLOADS, HISTORY, MESSAGES, TASKS, TASK_INPUTS, WORKERS, LEASES, OUTGOING,
  SETTINGS,
}
local INDEXES = {
  INBOX, RECEIPTS, TASK_INDEX, DUE, READY, HELD, BLOCKED, LISTED, ENDED, TAGGED, CHILDREN, OUTBOX,
  KIN,
}
for _, hash in ipairs(HASHES) do redis.call('HDEL', hash, '') end
for _, index in ipairs(INDEXES) do
  redis.call('ZREM', index, '')
  redis.call('ZADD', index, 'XX', 0, '')
  redis.call('ZREMRANGEBYLEX', index, '(', '(')
end
redis.call('PUBLISH', CHANGES, SENDER)
redis.call('HSET', SETTINGS, 'schema', redis.call('HGET', SETTINGS, 'schema'))
return 0
