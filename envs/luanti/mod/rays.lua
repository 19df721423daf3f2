-- Lines through the map (Amanatides & Woo 1987). Node i reaches from i - 0.5 to i + 0.5.
local rl = ...
local ffi, bit = rl.ffi, rl.bit
local floor, abs, min, max, ceil = math.floor, math.abs, math.min, math.max, math.ceil
local band, lshift, arshift, tobit = bit.band, bit.lshift, bit.arshift, bit.tobit
local KNOWN, fetch, mark = rl.KNOWN, rl.fetch, rl.mark
local MUCH = 1e18
-- Away from where lines would go through edges exactly, and from a node to one that it only touches.
local ASIDE_X, ASIDE_Y, ASIDE_Z = 1.3e-7, 2.9e-7, 4.3e-7

-- LuaJIT gives up on a loop that has many variables, or branches that are taken now and then (it makes a trace for every pattern of turns),
-- and leaves a function that returns from within a loop to its interpreter. So all lines of a fan are followed in one function, the line under
-- way lies in this structure, and which axis has the next border is arithmetic: 1 for that one, 0 for the others.
ffi.cdef([[typedef struct {
  double ox, oy, oz, reach;                 // where lines begin, how far they go
  double sx, sy, sz, stepx, stepy, stepz;
  double x, y, z, kx, ky, kz;               // where the last one ended: node, and the axis along which it was entered
} rl_line;]])
local line = ffi.new("rl_line")
rl.line = line
local MOST = 4096
local met, far, side = ffi.new("int32_t[?]", MOST), ffi.new("double[?]", MOST), ffi.new("uint8_t[?]", MOST)
rl.met, rl.far, rl.side = met, far, side

function rl.begin_lines(x, y, z, reach)
  line.ox, line.oy, line.oz, line.reach = x + 0.5 + ASIDE_X, y + 0.5 + ASIDE_Y, z + 0.5 + ASIDE_Z, reach
end

-- Of every `stride`-th of `count` directions (three numbers each) from the `first` on: into `met` the first node that `stops` (uint8 by id), -1
-- if there is none within reach; into `far` its distance; into `side` the side of it that was met, 1 to 6 for -x, +x, -y, +y, -z, +z. With
-- `seeing`, every node on the way counts as seen from then on.
local function follow(ways, first, count, stride, stops, seeing)
  local l = line
  for n = first, count - 1, stride do
    do
      local dx, dy, dz = ways[3 * n], ways[3 * n + 1], ways[3 * n + 2]
      local ax, ay, az = abs(dx), abs(dy), abs(dz)
      l.stepx, l.stepy, l.stepz = 1 / max(1e-9, ax), 1 / max(1e-9, ay), 1 / max(1e-9, az)
      l.sx, l.sy, l.sz = 1 - 2 * ceil(min(1, max(0, -dx * MUCH))), 1 - 2 * ceil(min(1, max(0, -dy * MUCH))), 1 - 2 * ceil(min(1, max(0, -dz * MUCH)))
    end
    local x, y, z = floor(l.ox), floor(l.oy), floor(l.oz)
    local tx = (l.sx * (x + 0.5 - l.ox) + 0.5) * l.stepx
    local ty = (l.sy * (y + 0.5 - l.oy) + 0.5) * l.stepy
    local tz = (l.sz * (z + 0.5 - l.oz) + 0.5) * l.stepz
    local slot, block = -1, nil
    local t, id = 0, -1
    while true do
      t = min(tx, ty, tz)
      if t > l.reach then
        t, id = l.reach, -1
        break
      end
      local kx, ky, kz = 1 - ceil(min(1, (tx - t) * MUCH)), 1 - ceil(min(1, (ty - t) * MUCH)), 1 - ceil(min(1, (tz - t) * MUCH))
      x, y, z = x + kx * l.sx, y + ky * l.sy, z + kz * l.sz
      tx, ty, tz = tx + kx * l.stepx, ty + ky * l.stepy, tz + kz * l.stepz
      local ix, iy, iz = tobit(x), tobit(y), tobit(z)
      local now = band(arshift(ix, 4), 7) + lshift(band(arshift(iy, 4), 7), 3) + lshift(band(arshift(iz, 4), 7), 6)
      if now ~= slot then slot, block = now, fetch(ix, iy, iz) end
      local i = band(ix, 15) + lshift(band(iy, 15), 4) + lshift(band(iz, 15), 8)
      id = block[i]
      if seeing and block[i + KNOWN] ~= id then mark(block, i, id, ix, iy, iz) end
      if stops[id] == 1 then
        l.x, l.y, l.z, l.kx, l.ky, l.kz = x, y, z, kx, ky, kz
        side[n] = kx * (1.5 - 0.5 * l.sx) + ky * (3.5 - 0.5 * l.sy) + kz * (5.5 - 0.5 * l.sz)
        break
      end
    end
    met[n], far[n] = id, t
  end
end
rl.follow = follow

-- Whether something that stops sight lies on a line, before its end. Nothing is seen by it.
local blind_way = ffi.new("double[3]")
function rl.blind(ox, oy, oz, dx, dy, dz, far_end)
  rl.begin_lines(ox, oy, oz, far_end)
  blind_way[0], blind_way[1], blind_way[2] = dx, dy, dz
  follow(blind_way, 0, 1, 1, rl.opaque, false)
  return met[0] >= 0
end

-- One line: id of the node it meets, x, y, z, and the node before it.
local way = ffi.new("double[3]")
function rl.cast(ox, oy, oz, dx, dy, dz, reach, stops)
  local l = line
  rl.begin_lines(ox, oy, oz, reach)
  way[0], way[1], way[2] = dx, dy, dz
  follow(way, 0, 1, 1, stops, true)
  if met[0] < 0 then return -1, 0, 0, 0, 0, 0, 0 end
  return met[0], l.x, l.y, l.z, l.x - l.kx * l.sx, l.y - l.ky * l.sy, l.z - l.kz * l.sz
end
