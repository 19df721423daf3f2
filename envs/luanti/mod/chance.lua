-- Random numbers of the episode. What the game draws while the agent acts (rare drops) comes from them, and nothing else does.
local rl = ...
local own = PcgRandom(0)
local engines = math.random

local function draw(low, high)
  if low == nil then return (own:next(0, 2 ^ 24 - 1)) / 2 ^ 24 end
  if high == nil then low, high = 1, low end
  return own:next(low, high)
end

function rl.seed(number) own = PcgRandom(number) end
function rl.begin_chance() math.random = draw end
function rl.end_chance() math.random = engines end
