-- The body, in ticks of 1/20 s, by the engine's rules for players: collision box, speeds, gravity, falls, liquids, breath.
local rl = ...
local floor, ceil, abs, min, max, sin, cos, rad = math.floor, math.ceil, math.abs, math.min, math.max, math.sin, math.cos, math.rad
local TICK = 0.05
local HALF, TALL = 0.3, 1.7                        -- player_api's collision box
rl.EYE = 1.47
local WALK, SNEAK, SPRINT, JUMP = 4.0, 1.35, 5.2, 6.5   -- nodes/s; the engine has no sprint: Minecraft's factor of 1.3
local GRAVITY = 2 * 9.81                           -- the engine doubles movement_gravity
local SAFE = 14.0                                  -- nodes/s of a fall without damage; 1 health for each beyond
local SWIM = 2.0
local HURT_TICKS, DROWN_TICKS, BREATHE_TICKS = 20, 40, 10

-- Where the agent looks: the engine's axes, from degrees as in Minecraft (yaw 0 south, 90 west; pitch 90 down).
function rl.direction(a)
  local flat = cos(rad(a.pitch))
  return -sin(rad(a.yaw)) * flat, -sin(rad(a.pitch)), -cos(rad(a.yaw)) * flat
end

-- Whether a body at a place would touch a node that stops it. All twelve nodes are looked at, some twice: LuaJIT makes one trace of that, and
-- one for every pattern of answers where a look depends on the one before.
local function blocked(x, y, z)
  local get, w = rl.get, rl.walkable
  local y0, y2 = floor(y + 0.5), floor(y + TALL - 1e-4 + 0.5)
  local y1 = y0 + 1
  local x0, x1 = floor(x - HALF + 0.5), floor(x + HALF - 1e-4 + 0.5)
  local z0, z1 = floor(z - HALF + 0.5), floor(z + HALF - 1e-4 + 0.5)
  local touched = w[get(x0, y0, z0)] + w[get(x0, y1, z0)] + w[get(x0, y2, z0)] + w[get(x1, y0, z0)] + w[get(x1, y1, z0)] + w[get(x1, y2, z0)]
    + w[get(x0, y0, z1)] + w[get(x0, y1, z1)] + w[get(x0, y2, z1)] + w[get(x1, y0, z1)] + w[get(x1, y1, z1)] + w[get(x1, y2, z1)]
  return touched > 0
end
rl.blocked = blocked

-- Move along one axis as far as it goes; whether something was in the way.
local function slide(a, dx, dy, dz)
  -- Less than the body's own width and height: what is in the way would touch where it ends.
  if abs(dx) < 0.6 and abs(dy) < 1.7 and abs(dz) < 0.6 and not blocked(a.x + dx, a.y + dy, a.z + dz) then
    a.x, a.y, a.z = a.x + dx, a.y + dy, a.z + dz
    return false
  end
  local n = max(1, ceil(max(abs(dx), abs(dy), abs(dz)) / 0.05))
  dx, dy, dz = dx / n, dy / n, dz / n
  for _ = 1, n do
    if blocked(a.x + dx, a.y + dy, a.z + dz) then return true end
    a.x, a.y, a.z = a.x + dx, a.y + dy, a.z + dz
  end
  return false
end

rl.slide = slide

local function at(a, above) return rl.get(floor(a.x + 0.5), floor(a.y + above + 0.5), floor(a.z + 0.5)) end

function rl.hurt(a, amount)
  amount = min(a.hp, amount)
  a.hp, a.damage = a.hp - amount, a.damage + amount
  rl.exhaust(a, 0.1)
end

local function land(a)
  local under = rl.registered[at(a, -0.2)]
  local factor = 1 + (minetest.get_item_group(under.name, "fall_damage_add_percent") / 100)
  local speed = -a.vy * factor
  if speed > SAFE then rl.hurt(a, floor(speed - SAFE + 0.5)) end
  a.on_ground = true
end

local function over_edge(a) return not blocked(a.x, a.y - 0.1, a.z) end

local function walk(a, ahead, left, speed)
  if ahead == 0 and left == 0 then return end
  local s, c = sin(rad(a.yaw)), cos(rad(a.yaw))
  local scale = speed * TICK / math.sqrt(ahead * ahead + left * left)
  local dx, dz = (-s * ahead + c * left) * scale, (-c * ahead - s * left) * scale
  for axis = 1, 2 do
    local x, z = a.x, a.z
    slide(a, axis == 1 and dx or 0, 0, axis == 2 and dz or 0)
    if a.sneaking and a.on_ground and over_edge(a) then a.x, a.z = x, z end
  end
end

local function breathe(a)
  a.breath_clock = a.breath_clock + 1
  local drowning = rl.drowning[at(a, rl.EYE)]
  if drowning > 0 then
    if a.breath_clock >= DROWN_TICKS then
      a.breath_clock = 0
      if a.breath > 0 then a.breath = a.breath - 1 end
      if a.breath == 0 then rl.hurt(a, drowning) end
    end
  elseif a.breath < 10 then
    if a.breath_clock >= BREATHE_TICKS then a.breath_clock, a.breath = 0, a.breath + 1 end
  else
    a.breath_clock = 0
  end
end

local function burn(a)
  local harm = rl.harm
  local worst = max(harm[at(a, 0.05)], harm[at(a, 0.9)], harm[at(a, 1.5)])
  a.hurt_clock = worst > 0 and a.hurt_clock + 1 or 0
  if a.hurt_clock >= HURT_TICKS then
    a.hurt_clock = 0
    rl.hurt(a, worst)
  end
end

-- One tick: ahead and left -1, 0 or 1; jump, sneak and sprint as in MineDojo's third part.
function rl.move(a, ahead, left, jump, sneak, sprint)
  a.sneaking = sneak
  local within = at(a, 0.5)
  a.in_liquid = rl.liquid[within] == 1
  local before = a.vy
  local speed = sneak and SNEAK or (sprint and SPRINT or WALK)
  if a.in_liquid then
    -- The engine's terminal speed of sinking: 2 * movement_liquid_sink against its resistance, by viscosity.
    a.vy = jump and SWIM or (-20 / (100 * (0.3 * (rl.registered[within].liquid_viscosity or 1) + 0.7)) - (sneak and SWIM or 0))
    speed, before = speed * 0.5, a.vy
  else
    if jump and a.on_ground then before = JUMP end
    a.vy = max(-60, before - GRAVITY * TICK)
  end
  local x, z = a.x, a.z
  walk(a, ahead, left, speed)
  rl.digest(a, abs(a.x - x) + abs(a.z - z), jump and a.on_ground, sprint)
  -- The mean of the speeds before and after: ticks are longer than the engine's frames, and a jump has to be as high.
  local rise = (before + a.vy) / 2 * TICK
  local hit = slide(a, 0, rise, 0)
  a.on_ground = false
  if hit then
    if rise < 0 then
      -- Rest on the node itself, wherever the last small step ended.
      local floor_y = floor(a.y + 0.5) - 0.5
      if a.y - floor_y < 0.06 and not blocked(a.x, floor_y, a.z) then a.y = floor_y end
      if not a.in_liquid then land(a) else a.on_ground = true end
    end
    a.vy = 0
  end
  breathe(a)
  burn(a)
end
