-- workers(): {id, worker, end of its lease} of all that are registered.

local found = {}
local ends = redis.call('HGETALL', LEASES)
for n = 1, #ends, 2 do
  found[#found + 1] = {ends[n], redis.call('HGET', WORKERS, ends[n]), ends[n + 1]}
end
return found
