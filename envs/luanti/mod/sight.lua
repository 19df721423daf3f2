-- What the agent sees: rays over its field of view, the cube of blocks it knows, and the nearest of what it remembers.
-- A block counts as seen once a ray has met it, or the agent has touched it.
local rl = ...
local ffi = rl.ffi
local floor, sin, cos, rad, max, min = math.floor, math.sin, math.cos, math.rad, math.max, math.min
local RAYS, REACH, UNSEEN = rl.ROWS * rl.COLUMNS, rl.REACH, rl.UNSEEN
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

-- The remembered places of each kind; the nearest are told again when the agent is in another block, or the list has changed.
local MOST = 2000
local remembered = ffi.new("int32_t[?]", rl.KINDS * MOST * 3)
local lengths, stale = ffi.new("int32_t[?]", rl.KINDS), ffi.new("uint8_t[?]", rl.KINDS)
local far, best = ffi.new("double[?]", rl.KEPT), ffi.new("int32_t[?]", rl.KEPT)
function rl.forget_remembered()
  for kind = 0, rl.KINDS - 1 do lengths[kind], stale[kind] = 0, 1 end
end
rl.forget_remembered()
function rl.remember(kind, x, y, z)
  kind = kind - 1
  local n = lengths[kind]
  if n < MOST then
    local at = (kind * MOST + n) * 3
    remembered[at], remembered[at + 1], remembered[at + 2] = x, y, z
    lengths[kind], stale[kind] = n + 1, 1
  end
end

-- The nearest places of one kind into `best`; how many there are. What is no longer there is struck off.
local function sort_out(kind, ex, ey, ez)
  local kind_of, known = rl.kind_of, rl.known
  local i, found, base = 0, 0, kind * MOST
  while i < lengths[kind] do
    local at = (base + i) * 3
    local x, y, z = remembered[at], remembered[at + 1], remembered[at + 2]
    if kind_of[known(x, y, z)] ~= kind + 1 then
      local last = (base + lengths[kind] - 1) * 3
      remembered[at], remembered[at + 1], remembered[at + 2] = remembered[last], remembered[last + 1], remembered[last + 2]
      lengths[kind] = lengths[kind] - 1
    else
      local away = (x - ex) * (x - ex) + (y - ey) * (y - ey) + (z - ez) * (z - ez)
      if found < rl.KEPT or away < far[found - 1] then
        if found < rl.KEPT then found = found + 1 end
        local j = found - 1
        while j > 0 and far[j - 1] > away do
          far[j], best[j] = far[j - 1], best[j - 1]
          j = j - 1
        end
        far[j], best[j] = away, i
      end
      i = i + 1
    end
  end
  return found
end

local nearest, near = ffi.new("int32_t[?]", rl.KINDS * 3), ffi.new("double[?]", rl.KINDS)
local function tell_remembered(a, sight, all)
  local ex, ey, ez = a.x, a.y + rl.EYE, a.z
  a.near = near
  for kind = 0, rl.KINDS - 1 do
    if stale[kind] == 1 or (all and lengths[kind] > 0) then
      stale[kind] = 0
      local found = sort_out(kind, ex, ey, ez)
      sight.counts[kind] = lengths[kind]
      near[kind] = 1e9
      for j = 0, found - 1 do
        local at, from = (kind * rl.KEPT + j) * 3, (kind * MOST + best[j]) * 3
        local x, y, z = remembered[from], remembered[from + 1], remembered[from + 2]
        sight.places[at], sight.places[at + 1], sight.places[at + 2] = x - a.origin_x, y, a.origin_z - z
        if j == 0 then
          near[kind] = math.sqrt(far[0])
          nearest[3 * kind], nearest[3 * kind + 1], nearest[3 * kind + 2] = x, y, z
        end
      end
    end
  end
end

-- Where the nearest of each kind lies: ahead, to the right and up, in units of the reach of sight, and 1 for known.
local function tell_compass(a, reply)
  local s, c, out, reach = sin(rad(a.yaw)), cos(rad(a.yaw)), reply.nearest, rl.REACH
  for kind = 0, rl.KINDS - 1 do
    local at = 4 * kind
    if lengths[kind] > 0 then
      local dx, dy, dz = nearest[3 * kind] - a.x, nearest[3 * kind + 1] - a.y - rl.EYE, nearest[3 * kind + 2] - a.z
      out[at] = max(-1, min(1, (-s * dx - c * dz) / reach))
      out[at + 1] = max(-1, min(1, (-c * dx + s * dz) / reach))
      out[at + 2], out[at + 3] = max(-1, min(1, dy / reach)), 1
    else
      out[at], out[at + 1], out[at + 2], out[at + 3] = 0, 0, 0, 0
    end
  end
end

local FELT = ffi.new("int8_t[36]", {0, -1, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, -1, 1, 1, 0, -1, 1, 0, 0, 1, 1, 0, 1, -1})
local function touch(x, y, z)
  for i = 0, 33, 3 do rl.look(x + FELT[i], y + FELT[i + 1], z + FELT[i + 2]) end
end

-- The nearest hit of each kind of node that a look has met, by the number of its name.
local least, least_ray = ffi.new("double[65536]"), ffi.new("int32_t[65536]")
local seen_by, looks, names = ffi.new("int32_t[65536]"), 0, ffi.new("int32_t[?]", RAYS)

local function tell_hits(met, far, sight)
  local shown_as, count, at = rl.shown_as, 0, sight.hit_at
  looks = looks + 1
  for ray = 0, RAYS - 1 do
    if met[ray] > UNSEEN then
      local name, t = shown_as[met[ray]], far[ray]
      if seen_by[name] ~= looks then
        seen_by[name], least[name], least_ray[name], names[count] = looks, t, ray, name
        count = count + 1
      elseif t < least[name] then
        least[name], least_ray[name] = t, ray
      end
    end
  end
  -- The nearest first.
  for i = 1, count - 1 do
    local name, j = names[i], i
    while j > 0 and least[names[j - 1]] > least[name] do
      names[j] = names[j - 1]
      j = j - 1
    end
    names[j] = name
  end
  sight.hits = min(count, rl.HITS)
  for i = 0, sight.hits - 1 do
    local ray = least_ray[names[i]]
    sight.hit_names[i] = names[i]
    at[3 * i], at[3 * i + 1] = least[names[i]], -HIGH + 2 * HIGH * floor(ray / rl.COLUMNS) / (rl.ROWS - 1)
    at[3 * i + 2] = -WIDE + 2 * WIDE * (ray % rl.COLUMNS) / (rl.COLUMNS - 1)
  end
end

-- The directions of a fan of lines as the agent looks now.
local function turned(a, fan, count, into)
  local fx, fy, fz, rx, ry, rz, ux, uy, uz = axes(a)
  for i = 0, count * 3 - 1, 3 do
    local r, u, f = fan[i], fan[i + 1], fan[i + 2]
    into[i], into[i + 1], into[i + 2] = f * fx + r * rx + u * ux, f * fy + r * ry + u * uy, f * fz + r * rz + u * uz
  end
end
local lidar_now, sweep_now = ffi.new("double[?]", RAYS * 3), ffi.new("double[?]", SWEEP_COLUMNS * SWEEP_ROWS * 3)

local function tell_lidar(reply, sight)
  local met, far = rl.met, rl.far
  rl.follow(lidar_now, 0, RAYS, 1, rl.something, true)
  for i = 0, RAYS - 1 do reply.lidar[i] = far[i] / REACH end
  tell_hits(met, far, sight)
end

local function look(a, pose, reply, sight)
  rl.begin_lines(a.x, a.y + rl.EYE, a.z, REACH)
  if pose.still == 0 then
    turned(a, lidar, RAYS, lidar_now)
    turned(a, sweep, SWEEP_COLUMNS * SWEEP_ROWS, sweep_now)
    tell_lidar(reply, sight)
  end
  rl.follow(sweep_now, pose.phase, SWEEP_COLUMNS * SWEEP_ROWS, PHASES, rl.opaque, true)
  pose.phase = (pose.phase + 1) % PHASES
end

-- The nodes beside the agent's feet, by x, y and south.
local function tell_around(x, y, z, sight)
  local known, at = rl.known, 0
  for ix = x - 1, x + 1 do
    for iy = y - 1, y + 1 do
      for iz = z + 1, z - 1, -1 do
        sight.around[at] = known(ix, iy, iz)
        at = at + 1
      end
    end
  end
end

local pose = {}                   -- what was looked from, and what was known then
function rl.forget_pose() pose = {still = 0, phase = 0} end
rl.forget_pose()

local function sky_above(x, y, z)
  local opaque, get = rl.opaque, rl.get
  for iy = y, y + 28 do
    if opaque[get(x, iy, z)] == 1 then return 0 end
  end
  return 1
end

-- Look, and write everything seen into the reply. What has not changed since the last time is left as it is.
function rl.see(a, reply, sight)
  local x, y, z = floor(a.x + 0.5), floor(a.y + 1e-3 + 0.5), floor(a.z + 0.5)
  local moved = pose.cx ~= x or pose.cy ~= y or pose.cz ~= z
  local turned = pose.x ~= a.x or pose.y ~= a.y or pose.z ~= a.z or pose.yaw ~= a.yaw or pose.pitch ~= a.pitch
  local edited = pose.edits ~= rl.edits
  local changes = pose.changes
  if turned or edited then pose.still = 0 else pose.still = pose.still + 1 end
  local looking = pose.still < PHASES
  if moved or edited then touch(x, y, z) end
  if moved or not rl.has_cube() then
    rl.copy_cube(x, y, z, sight.cube)
    changes = nil
  end
  if looking then look(a, pose, reply, sight) end
  local id, hx, hy, hz = rl.point(a, rl.pointable)
  reply.pointed[0], reply.pointed[1], reply.pointed[2], reply.pointed[3] = id, hx - a.origin_x, hy, a.origin_z - hz
  reply.fresh = (pose.still == 0 or changes ~= rl.changes) and 1 or 0
  if reply.fresh == 1 then
    if changes ~= rl.changes then tell_around(x, y, z, sight) end
    tell_remembered(a, sight, moved or edited)
    if moved or edited then
      pose.sky = sky_above(x, y + 2, z)
      pose.light = minetest.get_node_light({x = x, y = y + 1, z = z}, rl.time_of_day(a)) or 0
    end
  end
  pose.cx, pose.cy, pose.cz, pose.x, pose.y, pose.z, pose.yaw, pose.pitch = x, y, z, a.x, a.y, a.z, a.yaw, a.pitch
  pose.changes, pose.edits = rl.changes, rl.edits
  local has_table, has_furnace = rl.near(a, "table"), rl.near(a, "furnace")
  if has_table ~= a.has_table or has_furnace ~= a.has_furnace then
    a.has_table, a.has_furnace, a.bag_changed = has_table, has_furnace, true
  end
  tell_compass(a, reply)
  local me = reply.self
  me[0], me[1], me[2], me[3], me[4], me[5] = a.hp, a.food, a.breath * 30, 0, a.saturation, 0
  me[6], me[7], me[8], me[9], me[10] = a.x + 0.5 - a.origin_x, a.y + 0.5, a.origin_z + 0.5 - a.z, a.pitch, a.yaw
  me[11], me[12], me[13], me[14], me[15] = pose.light, has_table and 1 or 0, has_furnace and 1 or 0, 0, pose.sky
end
