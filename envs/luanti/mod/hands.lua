-- The functional part of an action: the game's own callbacks, with the agent as the player. Answers are 1 for done, 0 for under way, or a
-- reason below 0 (see REFUSED in envs/luanti/belongings.py).
local rl = ...
local TICK = 0.05
local REACH = 4.0                      -- the engine's range of a hand, from the eye

function rl.point(a, stops)
  local dx, dy, dz = rl.direction(a)
  return rl.cast(a.x, a.y + rl.EYE, a.z, dx, dy, dz, REACH, stops)
end

local function spot(x, y, z) return {x = x, y = y, z = z} end

local times = {}                       -- [tool] -> [id] -> seconds to dig it, false if it cannot be

local function seconds(a, id)
  if a.bag_changed or not a.hand then a.hand = a:get_wielded_item():get_name() end
  local of_tool = times[a.hand]
  if not of_tool then
    of_tool = {}
    times[a.hand] = of_tool
  end
  local found = of_tool[id]
  if found == nil then
    local groups = rl.registered[id].groups
    local params = minetest.get_dig_params(groups, ItemStack(a.hand):get_tool_capabilities())
    if not params.diggable then params = minetest.get_dig_params(groups, minetest.registered_items[""].tool_capabilities) end
    found = params.diggable and params.time
    of_tool[id] = found
  end
  return found
end

local function attack(a)
  if rl.strike(a) then
    rl.exhaust(a, 0.1)
    a.digging, a.progress = 0, 0
    return 0
  end
  local id, x, y, z = rl.point(a, rl.pointable)
  if id < 0 then
    a.digging = 0
    return -1
  end
  if a.dx ~= x or a.dy ~= y or a.dz ~= z then a.dx, a.dy, a.dz, a.digging = x, y, z, 0 end
  local time = seconds(a, id)
  if not time then
    a.digging = 0
    return -9
  end
  a.digging = a.digging + TICK
  a.progress = time > 0 and math.min(1, a.digging / time) or 1
  if a.digging + 1e-5 < time then return 0 end
  local def = rl.registered[id]
  a.digging, a.dx = 0, nil
  local pos = spot(x, y, z)
  if def.on_dig(pos, minetest.get_node(pos), a) == false then return -9 end
  rl.exhaust(a, 0.005)
  a.dug, a.bag_changed = id, true
  return 1
end

local function occupied(a, x, y, z)
  return math.abs(x - a.x) < 0.8 and math.abs(z - a.z) < 0.8 and y + 0.5 > a.y and y - 0.5 < a.y + 1.7
end

local function place(a, slot)
  local stack = a.bag:get_stack("main", slot + 1)
  if stack:is_empty() then return -2 end
  local def = minetest.registered_nodes[stack:get_name()]
  if not def then return -3 end
  local id, x, y, z, px, py, pz = rl.point(a, rl.pointable)
  if id < 0 then return -1 end
  local into = rl.registered[id].buildable_to and spot(x, y, z) or spot(px, py, pz)
  if def.walkable and occupied(a, into.x, into.y, into.z) then return -10 end
  local pointed = {type = "node", under = spot(x, y, z), above = spot(px, py, pz)}
  local left, done
  if stack:get_name() == "default:torch" then
    local before = stack:get_count()
    left = def.on_place(stack, a, pointed)
    done = left and left:get_count() < before
  else
    left, done = minetest.item_place_node(stack, a, pointed)
  end
  if not done then return -3 end
  a.bag:set_stack("main", slot + 1, left)
  a.bag_changed = true
  return 1
end

-- The item in the hand, for what works without more of a player than there is: buckets and food.
local function use(a)
  local stack = a:get_wielded_item()
  local def = stack:get_definition()
  local edible = next(def.groups or {}) and (def.groups.food_apple or def.groups.food_bread or def.groups.food_blueberries)
  if stack:is_empty() or not (stack:get_name():find("^bucket:") or edible) then return -3 end
  local id, x, y, z, px, py, pz = rl.point(a, stack:get_name() == "bucket:bucket_empty" and rl.scoopable or rl.pointable)
  if id < 0 and not edible then return -1 end
  local pointed = id < 0 and {type = "nothing"} or {type = "node", under = spot(x, y, z), above = spot(px, py, pz)}
  local name, count = stack:get_name(), stack:get_count()
  local act = def.on_use or def.on_place
  local left = act(stack, a, pointed)
  if not left or (left:get_name() == name and left:get_count() == count) then return -3 end
  a:set_wielded_item(left)
  return 1
end

local function drop(a)
  local stack = a:get_wielded_item()
  if stack:is_empty() then return -2 end
  stack:take_item()
  a:set_wielded_item(stack)
  return 1
end

local function equip(a, slot)
  local stack = a.bag:get_stack("main", slot + 1)
  if stack:is_empty() then return -2 end
  a.bag:set_stack("main", slot + 1, a:get_wielded_item())
  a:set_wielded_item(stack)
  return 1
end

local function destroy(a, slot)
  if a.bag:get_stack("main", slot + 1):is_empty() then return -2 end
  a.bag:set_stack("main", slot + 1, ItemStack(""))
  a.bag_changed = true
  return 1
end

-- One tick of MineDojo's function `number`, with its arguments.
function rl.act(a, number, craft, slot, first)
  if number ~= 3 then a.digging, a.progress = 0, 0 end
  if number == 3 then return attack(a) end
  if number == 0 or not first then return 0 end  -- an action of several ticks does the rest once
  if number == 1 then return use(a) end
  if number == 2 then return drop(a) end
  if number == 4 then return rl.craft(a, craft) end
  if number == 5 then return equip(a, slot) end
  if number == 6 then return place(a, slot) end
  return destroy(a, slot)
end
