-- workers(): {id, worker, end of its lease} of all that are registered.

local found = {}
local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for n = 1, #leases, 2 do
  local expires_at = string.format('%.0f', tonumber(leases[n + 1]))
  found[#found + 1] = {leases[n], redis.call('HGET', WORKERS, leases[n]), expires_at}
end
return found
