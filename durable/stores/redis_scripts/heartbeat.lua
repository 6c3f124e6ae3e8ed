-- heartbeat(worker, lease, decides): renew a lease that has not expired; the tasks to be
-- cancelled.  Answers nil if it has, or if it is gone where another partition decides.

local expires_at = redis.call('HGET', LEASES, R[1])
if not expires_at or (R[3] and tonumber(expires_at) <= NOW) then return false end
look_for_left_over()
put(LEASES, R[1], string.format('%.0f', NOW + R[2]))
tell = false
flush()
return to_cancel(R[1])
