-- Pictures: what every pixel's ray meets, how far away and on which side. Python puts the textures on.
local rl = ...
local SIZE, SPREAD, FAR = 64, 0.7265, 32          -- pixels a side, tangent of half the view's 72 degrees, nodes
local picture = rl.ffi.new("rl_picture")
rl.PICTURE_BYTES = rl.ffi.sizeof("rl_picture")

local right_of, up_of, scale_of = rl.ffi.new("double[?]", SIZE), rl.ffi.new("double[?]", SIZE), rl.ffi.new("double[?]", SIZE * SIZE)
for i = 0, SIZE - 1 do right_of[i], up_of[i] = (2 * (i + 0.5) / SIZE - 1) * SPREAD, (1 - 2 * (i + 0.5) / SIZE) * SPREAD end
for i = 0, SIZE * SIZE - 1 do
  local r, u = right_of[i % SIZE], up_of[math.floor(i / SIZE)]
  scale_of[i] = 1 / math.sqrt(1 + r * r + u * u)
end
local ways = rl.ffi.new("double[?]", SIZE * SIZE * 3)

local function aim(a)
  local fx, fy, fz, rx, ry, rz, ux, uy, uz = rl.axes(a)
  for i = 0, SIZE * SIZE - 1 do
    local n, r, u = scale_of[i], right_of[i % SIZE], up_of[(i - i % SIZE) / SIZE]
    ways[3 * i], ways[3 * i + 1], ways[3 * i + 2] = (fx + rx * r + ux * u) * n, (fy + ry * r + uy * u) * n, (fz + rz * r + uz * u) * n
  end
end

function rl.paint(a)
  local met, far, side, AIR = rl.met, rl.far, rl.side, rl.AIR
  aim(a)
  rl.begin_lines(a.x, a.y + rl.EYE, a.z, FAR)
  rl.follow(ways, 0, SIZE * SIZE, 1, rl.drawn, false)
  for i = 0, SIZE * SIZE - 1 do
    local hit = met[i] >= 0
    picture.id[i], picture.face[i], picture.depth[i] = hit and met[i] or AIR, hit and side[i] or 0, far[i] * 100
  end
  return picture
end
