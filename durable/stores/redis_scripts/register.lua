-- register(id, worker, lease's end): add a worker, and wake what other builds have blocked.

local id, info = R[1], R[2]
local known, word = set_of(info[W_WORKFLOWS]), info[W_WORD]
local woken = 0
for queue in pairs(set_of(info[W_QUEUES])) do
  for _, range in ipairs(ranges(BLOCKED, text(queue))) do
    if fits(range[1], known, word) then
      for _, member in ipairs(with_prefix(BLOCKED, range[2])) do
        wake(find(member:sub(#range[2] + 1)))
        woken = woken + 1
      end
    end
  end
end
put(WORKERS, id, cmsgpack.pack(info))
put(LEASES, id, string.format('%.0f', R[3]))
tell = woken > 0
flush()
return woken
