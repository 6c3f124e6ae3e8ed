-- heartbeat(worker, lease): renew a lease that has not expired; the tasks to be cancelled.
-- Answers nil if it has.

local expires_at = redis.call('HGET', LEASES, R[1])
if not expires_at or tonumber(expires_at) <= NOW then return false end
put(LEASES, R[1], string.format('%.0f', NOW + R[2]))
tell = false
flush()
return to_cancel(R[1])
