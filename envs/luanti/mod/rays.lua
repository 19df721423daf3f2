-- Lines through the map (Amanatides & Woo 1987). Node i reaches from i - 0.5 to i + 0.5.
local rl = ...
local floor, abs = math.floor, math.abs

-- The first node on the line that `stops` (uint8 by id): id, distance, face (1 to 6, the side that was hit), x, y, z, and the node before it.
-- id is -1 if there is none within `reach`. With `seeing`, every node on the way counts as seen from then on.
function rl.cast(ox, oy, oz, dx, dy, dz, reach, stops, seeing)
  local ask = seeing and rl.look or rl.get
  ox, oy, oz = ox + 0.5, oy + 0.5, oz + 0.5
  local x, y, z = floor(ox), floor(oy), floor(oz)
  local sx, sy, sz = dx > 0 and 1 or -1, dy > 0 and 1 or -1, dz > 0 and 1 or -1
  local ax, ay, az = abs(dx), abs(dy), abs(dz)
  local stepx, stepy, stepz = ax > 1e-9 and 1 / ax or 1e9, ay > 1e-9 and 1 / ay or 1e9, az > 1e-9 and 1 / az or 1e9
  local tx = (dx > 0 and (x + 1 - ox) or (ox - x)) * stepx
  local ty = (dy > 0 and (y + 1 - oy) or (oy - y)) * stepy
  local tz = (dz > 0 and (z + 1 - oz) or (oz - z)) * stepz
  while true do
    local px, py, pz, t, face = x, y, z, 0, 0
    if tx < ty and tx < tz then
      t, x, tx, face = tx, x + sx, tx + stepx, sx > 0 and 1 or 2
    elseif ty < tz then
      t, y, ty, face = ty, y + sy, ty + stepy, sy > 0 and 3 or 4
    else
      t, z, tz, face = tz, z + sz, tz + stepz, sz > 0 and 5 or 6
    end
    if t > reach then return -1, reach, 0, 0, 0, 0, 0, 0, 0 end
    local id = ask(x, y, z)
    if stops[id] == 1 then return id, t, face, x, y, z, px, py, pz end
  end
end
