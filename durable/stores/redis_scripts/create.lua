-- create(if_exists, new): instances, all or nothing.
-- Answers {"exists", id}, with nothing created, or {"created", {uid, run, new}, …}.

local if_exists, all = R[1], R[2]

local tokens = {}
for _, new in ipairs(all) do
  local id = new.id
  local row = find_id(id)
  local token = tokens[id] or (row and row[TOKEN])
  if token ~= new.token and if_exists ~= 'use' then
    local free = not row or (if_exists == 'restart' and finished(row))
    if tokens[id] or not free then return {'exists', id} end
    tokens[id] = new.token
  end
end

local answer = {'created'}
for _, new in ipairs(all) do
  local row = find_id(new.id)
  local is_new = 1
  if not row then
    row = add(new)
  elseif row[TOKEN] ~= new.token then
    if if_exists == 'use' then is_new = 0 else restart(row, new) end
  end
  answer[#answer + 1] = {row.uid, row[RUN], is_new}
end
flush()
return answer
