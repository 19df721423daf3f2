-- Hunger and healing after Minecraft's: work exhausts, four points of exhaustion take one of saturation, then of food; who is full heals, who
-- starves is hurt down to one point of health. Off, health only comes back from what is eaten.
local rl = ...
local min, max = math.min, math.max
local HEAL, STARVE = 80, 80            -- ticks for a point of health
local on = rl.settings.hunger

function rl.exhaust(a, points)
  if on then a.exhausted = a.exhausted + points end
end

-- One tick, in which the agent has moved `nodes` along the ground.
function rl.digest(a, nodes, jumped, sprint)
  if not on then return end
  a.exhausted = a.exhausted + nodes * (sprint and 0.1 or 0.01) + (jumped and 0.05 or 0)
  if a.exhausted >= 4 then
    a.exhausted = a.exhausted - 4
    if a.saturation > 0 then a.saturation = max(0, a.saturation - 1) else a.food = max(0, a.food - 1) end
  end
  a.digested = a.digested + 1
  if a.food >= 18 and a.hp < 20 and a.hp > 0 then
    if a.digested >= HEAL then a.digested, a.hp, a.exhausted = 0, a.hp + 1, a.exhausted + 6 end
  elseif a.food == 0 then
    if a.digested >= STARVE then
      a.digested = 0
      if a.hp > 1 then rl.hurt(a, 1) end
    end
  else
    a.digested = 0
  end
end

-- What minetest_game's food calls: `points` of health there, of food here.
function minetest.do_item_eat(points, left_over, stack, user)
  if on then
    if user.food >= 20 then return stack end
    user.food = min(20, user.food + points)
    user.saturation = min(user.food, user.saturation + points * 0.6)
  else
    user:set_hp(user.hp + points)
  end
  stack:take_item()
  if left_over and left_over ~= "" then user.bag:add_item("main", ItemStack(left_over)) end
  return stack
end

-- From 0 (midnight) over 0.5 (noon) to 1.
function rl.time_of_day(a)
  if rl.settings.daylight == "day" then return 0.5 end
  if rl.settings.daylight == "night" then return 0 end
  return (0.25 + a.tick / 24000) % 1
end
