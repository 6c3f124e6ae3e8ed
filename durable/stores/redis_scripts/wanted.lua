-- wanted({uid, run, …}): for each, 1 if that instance could still ask for a child of this run.

local found = {}
for n = 1, #R[1], 2 do
  found[#found + 1] = wanted_by(R[1][n], R[1][n + 1]) and 1 or 0
end
return found
