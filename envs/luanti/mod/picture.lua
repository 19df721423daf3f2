-- Pictures: what every pixel's ray meets, how far away and on which side. Python puts the textures on.
local rl = ...
local SIZE, SPREAD, FAR = 64, 0.7265, 32          -- pixels a side, tangent of half the view's 72 degrees, nodes
local picture = rl.ffi.new("rl_picture")
rl.PICTURE_BYTES = rl.ffi.sizeof("rl_picture")

function rl.paint(a)
  local fx, fy, fz, rx, ry, rz, ux, uy, uz = rl.axes(a)
  local cast, drawn, sqrt = rl.cast, rl.drawn, math.sqrt
  local i = 0
  for row = 0, SIZE - 1 do
    local up = (1 - 2 * (row + 0.5) / SIZE) * SPREAD
    for column = 0, SIZE - 1 do
      local right = (2 * (column + 0.5) / SIZE - 1) * SPREAD
      local dx, dy, dz = fx + rx * right + ux * up, fy + ry * right + uy * up, fz + rz * right + uz * up
      local n = 1 / sqrt(dx * dx + dy * dy + dz * dz)
      local id, t, face = cast(a.x, a.y + rl.EYE, a.z, dx * n, dy * n, dz * n, FAR, drawn, false)
      picture.id[i], picture.depth[i], picture.face[i] = id < 0 and rl.AIR or id, t * 100, face
      i = i + 1
    end
  end
  return picture
end
