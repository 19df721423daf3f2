-- Zombies, on the agent's own tick: the engine's entities run on its clock, which stands still while a program thinks. They come up in the dark,
-- walk towards whom they see, strike who is near, and burn under the open sky by day. After Minecraft's, in numbers.
local rl = ...
local floor, sqrt, atan2, deg, max = math.floor, math.sqrt, math.atan2, math.deg, math.max
rl.most_creatures = 4                  -- at a time
local EVERY = 20                       -- ticks between two tries to come up
local NEAREST, FARTHEST = 10, 24       -- nodes from the agent where they come up
local DARK = 7                         -- light up to which they do
local SPEED, SIGHT, ARM = 2.3, 20, 1.6 -- nodes/s; nodes they see; nodes they strike from
local HEALTH, STRIKE, REST = 20, 3, 20 -- points; of damage; ticks between two strikes
local BURN = 20                        -- ticks a point of health lasts in the sun
local COOL = 10                        -- ticks between two strikes of the agent
local WEAPONS = {["default:sword_wood"] = 4, ["default:sword_stone"] = 5, ["default:sword_steel"] = 6, ["default:sword_diamond"] = 7,
  ["default:axe_stone"] = 4, ["default:axe_steel"] = 5, ["default:pick_steel"] = 3}
local all = {}
rl.creatures = all

function rl.forget_creatures()
  for i = #all, 1, -1 do all[i] = nil end
end

local function stands(x, y, z)
  local get, walkable = rl.get, rl.walkable
  return walkable[get(x, y - 1, z)] == 1 and walkable[get(x, y, z)] == 0 and walkable[get(x, y + 1, z)] == 0 and rl.liquid[get(x, y, z)] == 0
end

-- Whether a node that stops sight lies between two places.
local function hidden(ax, ay, az, bx, by, bz)
  local dx, dy, dz = bx - ax, by - ay, bz - az
  local far = sqrt(dx * dx + dy * dy + dz * dz)
  return far > 0 and rl.blind(ax, ay, az, dx / far, dy / far, dz / far, far)
end

local function come_up(a)
  local angle, away = math.random() * 2 * math.pi, NEAREST + math.random() * (FARTHEST - NEAREST)
  local x, z = floor(a.x + away * math.cos(angle) + 0.5), floor(a.z + away * math.sin(angle) + 0.5)
  local y0 = floor(a.y + 0.5)
  for y = y0 + 6, y0 - 6, -1 do
    if stands(x, y, z) then
      local light = minetest.get_node_light({x = x, y = y, z = z}, rl.time_of_day(a)) or 15
      if light <= DARK then
        all[#all + 1] = {x = x, y = y - 0.5, z = z, vy = 0, hp = HEALTH, rest = 0, burnt = 0}
      end
      return
    end
  end
end

local function walk(c, a)
  local dx, dz = a.x - c.x, a.z - c.z
  local far = sqrt(dx * dx + dz * dz)
  if far > 0.5 then
    local x, z = c.x, c.z
    local step = SPEED * 0.05 / far
    local stopped = rl.slide(c, dx * step, 0, 0)
    stopped = rl.slide(c, 0, 0, dz * step) or stopped
    if stopped and c.on_ground then c.vy = 6.5 end
  end
end

local function fall(c)
  local before = c.vy
  c.vy = max(-60, c.vy - 2 * 9.81 * 0.05)
  local rise = (before + c.vy) / 2 * 0.05
  c.on_ground = false
  if rl.slide(c, 0, rise, 0) then
    c.on_ground, c.vy = rise < 0, 0
  end
end

local function in_the_sun(a, c)
  local hour = rl.time_of_day(a) * 24
  if hour < 6 or hour > 18 then return false end
  local x, y, z = floor(c.x + 0.5), floor(c.y + 0.5), floor(c.z + 0.5)
  for up = 1, 28 do
    if rl.opaque[rl.get(x, y + up, z)] == 1 then return false end
  end
  return true
end

local function live(a, c)
  local dx, dy, dz = a.x - c.x, a.y - c.y, a.z - c.z
  local far = sqrt(dx * dx + dy * dy + dz * dz)
  if far > 40 then c.hp = 0 return end
  c.sees = far < SIGHT and not hidden(c.x, c.y + 1.5, c.z, a.x, a.y + rl.EYE, a.z)
  if c.sees then c.follows = 100 else c.follows = max(0, (c.follows or 0) - 1) end
  if c.follows > 0 then walk(c, a) end
  fall(c)
  c.rest = max(0, c.rest - 1)
  if c.sees and far < ARM and c.rest == 0 then
    c.rest = REST
    rl.hurt(a, STRIKE)
  end
  if in_the_sun(a, c) then
    c.burnt = c.burnt + 1
    if c.burnt >= BURN then c.burnt, c.hp = 0, c.hp - 1 end
  end
end

-- One tick of all of them.
function rl.live_creatures(a)
  if not rl.settings.monsters then return end
  if a.tick % EVERY == 0 and #all < rl.most_creatures then come_up(a) end
  for i = #all, 1, -1 do
    live(a, all[i])
    if all[i].hp <= 0 then table.remove(all, i) end
  end
end

-- The creature that the middle of the view is on, within `reach` and before any node; nil if there is none.
local function struck(a, reach)
  local dx, dy, dz = rl.direction(a)
  local best, nearest = nil, reach
  for _, c in ipairs(all) do
    -- A standing cylinder of half a node: where the line is nearest to its axis.
    local ox, oz = c.x - a.x, c.z - a.z
    local flat = dx * dx + dz * dz
    local t = flat > 1e-6 and (ox * dx + oz * dz) / flat or 0
    local side = sqrt((ox - dx * t) ^ 2 + (oz - dz * t) ^ 2)
    local height = a.y + rl.EYE + dy * t - c.y
    if t > 0 and t <= nearest and side < 0.5 and height > 0 and height < 1.8 then best, nearest = c, t end
  end
  if best and not rl.blind(a.x, a.y + rl.EYE, a.z, dx, dy, dz, nearest) then return best end
  return nil
end

-- Strike with what is in the hand; whether there was a creature to strike.
function rl.strike(a)
  if #all == 0 then return false end
  local c = struck(a, 3.5)
  if not c then return false end
  if a.tick >= (a.may_strike or 0) then
    a.may_strike = a.tick + COOL
    c.hp = c.hp - (WEAPONS[a:get_wielded_item():get_name()] or 1)
  end
  return true
end

-- Those in view, the nearest first: distance, and degrees down and to the right of the view.
function rl.tell_creatures(a, reply)
  local seen = {}
  for _, c in ipairs(all) do
    local dx, dy, dz = c.x - a.x, c.y + 0.9 - a.y - rl.EYE, c.z - a.z
    local flat = sqrt(dx * dx + dz * dz)
    local right = (deg(atan2(-dx, -dz)) - a.yaw + 180) % 360 - 180
    local down = -deg(atan2(dy, flat)) - a.pitch
    if math.abs(right) <= 60 and math.abs(down) <= 42 and flat <= rl.REACH and not hidden(a.x, a.y + rl.EYE, a.z, c.x, c.y + 0.9, c.z) then
      seen[#seen + 1] = {sqrt(flat * flat + dy * dy), down, right}
    end
  end
  table.sort(seen, function(p, q) return p[1] < q[1] end)
  reply.creatures = #seen
  for i, at in ipairs(seen) do
    for j = 1, 3 do reply.creature_at[3 * (i - 1) + j - 1] = at[j] end
  end
end
