-- block_unknown(queues, after, limit): deal with what is due and no live worker can run; how
-- many rows were changed. Of each name it looks at the longest due, at most limit, so that others
-- have their turn.

local known = {}
for _, worker in ipairs(live_workers()) do
  for name in pairs(worker.known) do known[name] = true end
end

local changed = 0

-- It rests until another build comes.
local function rest(row)
  touch(row)
  row[WAKE_AT] = nil
  changed = changed + 1
end

local function block(row, need)
  local reason = 'no worker knows workflow ' .. need
  local overdue = NOW - row[WAKE_AT] > R[2]
  if not overdue and row[REASON] == reason then return end
  touch(row)
  row[REASON] = reason
  changed = changed + 1
  if overdue then row[STATUS], row[BLOCKED_BY], row[WAKE_AT] = 'blocked', UNKNOWN, nil end
end

for queue in pairs(set_of(R[1])) do
  for _, range in ipairs(ranges(DUE, text('') .. text(queue))) do
    local name = range[1]
    local refused = name:find(SEPARATOR, 1, true)
    if not known[name] and not (refused and able(queue, name)) then
      for _, member in ipairs(due_in(DUE, range[2], R[3])) do
        if changed == R[3] then break end
        local row = find(member:sub(-16))
        if refused then rest(row) else block(row, name) end
      end
    end
  end
end
tell = changed > 0
flush()
return changed
