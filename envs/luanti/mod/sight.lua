-- What the agent sees: rays over its field of view, the cube of blocks it knows, and the nearest of what it remembers.
-- A block counts as seen once a ray has met it, or the agent has touched it.
local rl = ...
local ffi = rl.ffi
local floor, sin, cos, rad, max, min = math.floor, math.sin, math.cos, math.rad, math.max, math.min
local RAYS = rl.ROWS * rl.COLUMNS
local WIDE, HIGH = 60, 30                         -- degrees to each side that the lidar spans, as MineDojo's
local PHASES, SWEEP_COLUMNS, SWEEP_ROWS = 6, 24, 12
local lidar, sweep = ffi.new("double[?]", RAYS * 3), ffi.new("double[?]", SWEEP_COLUMNS * SWEEP_ROWS * 3)

local function aim(target, i, down, right)
  target[3 * i], target[3 * i + 1], target[3 * i + 2] = sin(rad(right)) * cos(rad(down)), -sin(rad(down)), cos(rad(right)) * cos(rad(down))
end
for row = 0, rl.ROWS - 1 do
  for column = 0, rl.COLUMNS - 1 do
    aim(lidar, row * rl.COLUMNS + column, -HIGH + 2 * HIGH * row / (rl.ROWS - 1), -WIDE + 2 * WIDE * column / (rl.COLUMNS - 1))
  end
end
-- Between the lidar's rays: a grid, a sixth of which is looked along at a time.
for row = 0, SWEEP_ROWS - 1 do
  for column = 0, SWEEP_COLUMNS - 1 do
    aim(sweep, row * SWEEP_COLUMNS + column, -42 + 84 * (row + 0.5) / SWEEP_ROWS, -WIDE + 2 * WIDE * (column + 0.5) / SWEEP_COLUMNS)
  end
end

-- Forward, right and up of the view, in the engine's axes.
local function axes(a)
  local s, c, sp, cp = sin(rad(a.yaw)), cos(rad(a.yaw)), sin(rad(a.pitch)), cos(rad(a.pitch))
  return -s * cp, -sp, -c * cp, -c, 0, s, -s * sp, cp, -c * sp
end
rl.axes = axes

local remembered = {}             -- [kind] -> list of {x, y, z}
function rl.forget_remembered()
  for kind = 1, rl.KINDS do remembered[kind] = {} end
end
rl.forget_remembered()
local MOST = 2000
local listed = 0
function rl.remember(kind, x, y, z)
  local list = remembered[kind]
  if #list < MOST then
    list[#list + 1] = {x, y, z}
    listed = listed + 1
  end
end

-- The nearest remembered places of each kind, into the reply; what is no longer there is struck off.
local function tell_remembered(a, reply)
  local ex, ey, ez = a.x, a.y + rl.EYE, a.z
  local kind_of, known = rl.kind_of, rl.known
  a.near, a.first = {}, {}
  for kind = 1, rl.KINDS do
    local list, best = remembered[kind], {}
    local i = 1
    while i <= #list do
      local place = list[i]
      local x, y, z = place[1], place[2], place[3]
      if kind_of[known(x, y, z)] ~= kind then
        list[i] = list[#list]
        list[#list] = nil
      else
        local far = (x - ex) ^ 2 + (y - ey) ^ 2 + (z - ez) ^ 2
        local n = #best
        if n < rl.KEPT or far < best[n].far then
          if n == rl.KEPT then best[n] = nil end
          local entry, j = {far = far, place = place}, #best + 1
          while j > 1 and (best[j - 1].far > far) do
            best[j] = best[j - 1]
            j = j - 1
          end
          best[j] = entry
        end
        i = i + 1
      end
    end
    reply.counts[kind - 1] = #list
    a.near[kind] = best[1] and math.sqrt(best[1].far) or 1e9
    a.first[kind] = best[1] and best[1].place
    for j = 1, #best do
      local at, place = ((kind - 1) * rl.KEPT + j - 1) * 3, best[j].place
      reply.places[at], reply.places[at + 1], reply.places[at + 2] = place[1] - a.origin_x, place[2], a.origin_z - place[3]
    end
  end
end

-- Where the nearest of each kind lies: ahead, to the right and up, in units of the reach of sight, and 1 for known.
local function tell_compass(a, reply)
  local s, c = sin(rad(a.yaw)), cos(rad(a.yaw))
  for kind = 1, rl.KINDS do
    local place, at = a.first[kind], 4 * (kind - 1)
    local out = reply.nearest
    if place then
      local dx, dy, dz = place[1] - a.x, place[2] - a.y - rl.EYE, place[3] - a.z
      out[at] = max(-1, min(1, (-s * dx - c * dz) / rl.REACH))
      out[at + 1] = max(-1, min(1, (-c * dx + s * dz) / rl.REACH))
      out[at + 2], out[at + 3] = max(-1, min(1, dy / rl.REACH)), 1
    else
      out[at], out[at + 1], out[at + 2], out[at + 3] = 0, 0, 0, 0
    end
  end
end

local FELT = {{0, -1, 0}, {0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {1, 0, 0}, {-1, 0, 0}, {0, 0, 1}, {0, 0, -1}, {1, 1, 0}, {-1, 1, 0}, {0, 1, 1}, {0, 1, -1}}
local function touch(a, x, y, z)
  for i = 1, #FELT do rl.look(x + FELT[i][1], y + FELT[i][2], z + FELT[i][3]) end
end

local function look_around(a, reply)
  local fx, fy, fz, rx, ry, rz, ux, uy, uz = axes(a)
  local ex, ey, ez = a.x, a.y + rl.EYE, a.z
  local cast, something, opaque, reach = rl.cast, rl.something, rl.opaque, rl.REACH
  local hits = {}
  reply.hits = 0
  for i = 0, RAYS - 1 do
    local r, u, f = lidar[3 * i], lidar[3 * i + 1], lidar[3 * i + 2]
    local id, t = cast(ex, ey, ez, f * fx + r * rx + u * ux, f * fy + r * ry + u * uy, f * fz + r * rz + u * uz, reach, something, true)
    reply.lidar[i] = t
    if id > rl.UNSEEN then
      local slot = hits[id]
      if not slot and reply.hits < rl.HITS then
        slot = reply.hits
        hits[id] = slot
        reply.hits, reply.hit_ids[slot], reply.hit_at[3 * slot] = slot + 1, id, 1e9
      end
      if slot and t < reply.hit_at[3 * slot] then
        reply.hit_at[3 * slot] = t
        reply.hit_at[3 * slot + 1] = -HIGH + 2 * HIGH * floor(i / rl.COLUMNS) / (rl.ROWS - 1)
        reply.hit_at[3 * slot + 2] = -WIDE + 2 * WIDE * (i % rl.COLUMNS) / (rl.COLUMNS - 1)
      end
    end
  end
  local n = SWEEP_COLUMNS * SWEEP_ROWS
  for i = a.phase, n - 1, PHASES do
    local r, u, f = sweep[3 * i], sweep[3 * i + 1], sweep[3 * i + 2]
    cast(ex, ey, ez, f * fx + r * rx + u * ux, f * fy + r * ry + u * uy, f * fz + r * rz + u * uz, reach, opaque, true)
  end
  a.phase = (a.phase + 1) % PHASES
end

local function copy_cube(x, y, z, reply)
  local target = reply.cube
  for iy = y - rl.HEIGHT, y + rl.HEIGHT do
    for iz = z + rl.RADIUS, z - rl.RADIUS, -1 do        -- towards the south
      rl.copy_row(x - rl.RADIUS, iy, iz, rl.WIDTH, target)
      target = target + rl.WIDTH
    end
  end
end

local function sky_above(x, y, z)
  for iy = y, y + 28 do
    if rl.opaque[rl.get(x, iy, z)] == 1 then return 0 end
  end
  return 1
end

-- Look, and write everything seen into the reply. What has not changed since the last time is left as it is.
function rl.see(a, reply)
  local x, y, z = floor(a.x + 0.5), floor(a.y + 1e-3 + 0.5), floor(a.z + 0.5)
  local pose = a.pose
  if not pose then
    pose = {}
    a.pose, a.phase = pose, 0
  end
  local moved = pose.cx ~= x or pose.cy ~= y or pose.cz ~= z
  local turned = pose.x ~= a.x or pose.y ~= a.y or pose.z ~= a.z or pose.yaw ~= a.yaw or pose.pitch ~= a.pitch
  if turned or pose.edits ~= rl.edits then pose.still = 0 else pose.still = pose.still + 1 end
  if moved or pose.edits ~= rl.edits then touch(a, x, y, z) end
  if pose.still < PHASES then look_around(a, reply) end
  local id, _, _, hx, hy, hz = rl.point(a, rl.pointable)
  reply.pointed[0], reply.pointed[1], reply.pointed[2], reply.pointed[3] = id, hx - a.origin_x, hy, a.origin_z - hz
  reply.fresh = (moved or pose.still < PHASES or pose.changes ~= rl.changes) and 1 or 0
  if moved or pose.changes ~= rl.changes then
    copy_cube(x, y, z, reply)
    if moved or pose.listed ~= listed or pose.edits ~= rl.edits then tell_remembered(a, reply) end
    if moved or pose.edits ~= rl.edits then
      pose.sky = sky_above(x, y + 2, z)
      pose.light = minetest.get_node_light({x = x, y = y + 1, z = z}, 0.5) or 0
    end
  end
  pose.cx, pose.cy, pose.cz, pose.x, pose.y, pose.z, pose.yaw, pose.pitch = x, y, z, a.x, a.y, a.z, a.yaw, a.pitch
  pose.changes, pose.edits, pose.listed = rl.changes, rl.edits, listed
  local has_table, has_furnace = rl.near(a, "table"), rl.near(a, "furnace")
  if has_table ~= a.has_table or has_furnace ~= a.has_furnace then
    a.has_table, a.has_furnace, a.bag_changed = has_table, has_furnace, true
  end
  tell_compass(a, reply)
  local me = reply.self
  me[0], me[1], me[2], me[3], me[4], me[5] = a.hp, 20, a.breath * 30, 0, 5, 0
  me[6], me[7], me[8], me[9], me[10] = a.x + 0.5 - a.origin_x, a.y + 0.5, a.origin_z + 0.5 - a.z, a.pitch, a.yaw
  me[11], me[12], me[13], me[14], me[15] = pose.light, has_table and 1 or 0, has_furnace and 1 or 0, 0, pose.sky
end
