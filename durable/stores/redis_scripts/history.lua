-- history(keys): for each {uid, run} its events, as a list of msgpack arrays.

local found = {}
for n, key in ipairs(R[1]) do
  local of_run, seq, all = key[1] .. be4(key[2]), 0, {}
  while true do
    local events = redis.call('HGET', HISTORY, of_run .. be4(seq))
    if not events then break end
    all[#all + 1] = events
    seq = seq + count_of(events)
  end
  found[n] = all
end
return found
