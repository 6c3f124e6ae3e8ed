-- awaken(worker, limit): wake what other builds have blocked and this worker may try; how many,
-- at most limit, so that others have their turn.

local info, limit, woken = R[1], R[2], 0
local known, word = set_of(info[W_WORKFLOWS]), info[W_WORD]
for queue in pairs(set_of(info[W_QUEUES])) do
  for _, range in ipairs(ranges(BLOCKED, text(queue))) do
    if fits(range[1], known, word) then
      for _, member in ipairs(with_prefix(BLOCKED, range[2], limit - woken)) do
        wake(find(member:sub(-16)))
        woken = woken + 1
      end
    end
  end
end
tell = woken > 0
flush()
return woken
