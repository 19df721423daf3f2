-- The map as the agent's ticks read it: copies of 16^3 blocks, and beside each what of it was seen. Edits go through here and can be undone.
local rl = ...
local ffi, bit = rl.ffi, rl.bit
local band, lshift, arshift, floor, min = bit.band, bit.lshift, bit.arshift, math.floor, math.min
local UNSEEN = rl.UNSEEN
-- [key] -> uint16[8193]: what is there, then what is known of it (with `xray` they are the same), then whether anything was ever seen of it.
local blocks = {}
local SEEN = 8192
local KNOWN = rl.settings.xray and 0 or 4096
rl.KNOWN = KNOWN
-- The blocks of the last 128 nodes along each axis, where most questions are about: by slot, and whose key it is that lies there.
local grid, grid_key = {}, ffi.new("double[512]")
local NOBODY = -1
local buffer = {}
rl.changes, rl.edits = 0, 0       -- count whatever could change what is known, and what is there

local function key_of(bx, by, bz) return (bx + 2048) + (by + 2048) * 4096 + (bz + 2048) * 16777216 end

local function forget_grid()
  for slot = 0, 511 do grid_key[slot], grid[slot + 1] = NOBODY, false end
end
forget_grid()

local function read(bx, by, bz, key)
  local manip = minetest.get_voxel_manip()
  manip:read_from_map({x = bx * 16, y = by * 16, z = bz * 16}, {x = bx * 16 + 15, y = by * 16 + 15, z = bz * 16 + 15})
  manip:get_data(buffer)
  local block, own = ffi.new("uint16_t[8193]"), rl.own
  for i = 0, 4095 do
    block[i] = own[buffer[i + 1]]
    if KNOWN > 0 then block[i + KNOWN] = UNSEEN end
  end
  blocks[key] = block
  return block
end

-- The block that a place lies in.
local function fetch(x, y, z)
  local bx, by, bz = arshift(x, 4), arshift(y, 4), arshift(z, 4)
  local key, slot = key_of(bx, by, bz), band(bx, 7) + lshift(band(by, 7), 3) + lshift(band(bz, 7), 6)
  if grid_key[slot] ~= key then grid_key[slot], grid[slot + 1] = key, blocks[key] or read(bx, by, bz, key) end
  return grid[slot + 1]
end
rl.fetch = fetch

local function index(x, y, z) return band(x, 15) + lshift(band(y, 15), 4) + lshift(band(z, 15), 8) end

-- What is there. Whoever asks has seen to it that the place was generated (places.lua).
function rl.get(x, y, z) return fetch(x, y, z)[index(x, y, z)] end

-- What the agent knows to be there.
function rl.known(x, y, z) return fetch(x, y, z)[index(x, y, z) + KNOWN] end

-- The cube of what is known around (cx, cy, cz), as numbers of `blocks.BLOCKS`, by x, y and south. Until the agent is in another block, what
-- becomes known is written into it one by one.
local cube, code_of, low_x, low_y, high_z = nil, rl.code_of, 0, 0, 0
local WIDTH, DEPTH, PLANE = rl.WIDTH, rl.DEPTH, rl.WIDTH * rl.DEPTH
function rl.copy_cube(cx, cy, cz, target)
  cube, low_x, low_y, high_z = target, cx - rl.RADIUS, cy - rl.HEIGHT, cz + rl.RADIUS
  local at = 0
  for x = low_x, low_x + WIDTH - 1 do
    for y = low_y, low_y + DEPTH - 1 do
      local column, z, left = band(x, 15) + lshift(band(y, 15), 4) + KNOWN, high_z, WIDTH
      while left > 0 do
        local n = min(left, band(z, 15) + 1)
        local block, from = fetch(x, y, z), column + lshift(band(z, 15), 8)
        for i = from, from - (n - 1) * 256, -256 do
          target[at] = code_of[block[i]]
          at = at + 1
        end
        z, left = z - n, left - n
      end
    end
  end
end

function rl.has_cube() return cube ~= nil end

-- What is there becomes known: `block` is where it lies, at `i`.
local function mark(block, i, id, x, y, z)
  block[i + KNOWN], block[SEEN] = id, 1
  rl.changes = rl.changes + 1
  local dx, dy, dz = x - low_x, y - low_y, high_z - z
  if cube and dx >= 0 and dx < WIDTH and dy >= 0 and dy < DEPTH and dz >= 0 and dz < WIDTH then
    cube[dx * PLANE + dy * WIDTH + dz] = code_of[id]
  end
  local kind = rl.kind_of[id]
  if kind > 0 then rl.remember(kind, x, y, z) end
end
rl.mark = mark

-- What is there, which from now on counts as seen.
function rl.look(x, y, z)
  local block, i = fetch(x, y, z), index(x, y, z)
  local id = block[i]
  if block[i + KNOWN] ~= id then mark(block, i, id, x, y, z) end
  return id
end

local blank = ffi.new("uint16_t[4096]")
for i = 0, 4095 do blank[i] = UNSEEN end
function rl.forget_seen()
  cube = nil
  rl.changes = rl.changes + 1
  if rl.settings.xray then return end
  for _, block in pairs(blocks) do
    if block[SEEN] == 1 then
      ffi.copy(block + KNOWN, blank, 8192)
      block[SEEN] = 0
    end
  end
end

function rl.forget_blocks()
  blocks, cube = {}, nil
  forget_grid()
  rl.changes = rl.changes + 1
end

-- Read again what the making of these chunks may have changed: themselves and a block around them, which the engine writes to as well.
function rl.refresh(chunks)
  for _, c in ipairs(chunks) do
    for bx = c[1] * 5 - 3, c[1] * 5 + 3 do
      for by = c[2] * 5 - 3, c[2] * 5 + 3 do
        for bz = c[3] * 5 - 3, c[3] * 5 + 3 do
          local key = key_of(bx, by, bz)
          local old = blocks[key]
          if old then
            local block = read(bx, by, bz, key)
            for i = 0, 4095 do
              if old[i + KNOWN] ~= UNSEEN then block[i + KNOWN], block[SEEN] = block[i], 1 end
            end
          end
        end
      end
    end
  end
  cube = nil
  forget_grid()
  rl.changes, rl.edits = rl.changes + 1, rl.edits + 1
end

local undo, logging = {}, true
local set, remove, swap = minetest.set_node, minetest.remove_node, minetest.swap_node

local function note(pos, id)
  local x, y, z = floor(pos.x + 0.5), floor(pos.y + 0.5), floor(pos.z + 0.5)
  if logging then undo[#undo + 1] = {vector.new(x, y, z), minetest.get_node(pos)} end
  local block, i = fetch(x, y, z), index(x, y, z)
  local was_known = block[i + KNOWN] ~= UNSEEN
  block[i] = id
  if was_known then rl.look(x, y, z) end
  if KNOWN == 0 then cube = nil end
  rl.changes, rl.edits = rl.changes + 1, rl.edits + 1
end

function minetest.set_node(pos, node) note(pos, rl.number(node.name)) return set(pos, node) end
minetest.add_node = minetest.set_node
function minetest.remove_node(pos) note(pos, rl.AIR) return remove(pos) end
function minetest.swap_node(pos, node) note(pos, rl.number(node.name)) return swap(pos, node) end

-- There are no moving objects: what falls is at the bottom at once, and what would lie about is lost.
local function land(pos, node)
  local x, y, z = floor(pos.x + 0.5), floor(pos.y + 0.5), floor(pos.z + 0.5)
  local bottom = y
  while y - bottom < 60 and rl.walkable[rl.get(x, bottom - 1, z)] == 0 do bottom = bottom - 1 end
  if bottom < y then minetest.set_node({x = x, y = bottom, z = z}, node) end
end
function minetest.add_item() return nil end
-- The engine's builtin makes an entity of a node that falls, tells it which node it was, and removes the node.
function minetest.add_entity(pos, name)
  if name ~= "__builtin:falling_node" then return nil end
  local entity = {set_node = function(_, node) land(pos, node) end}
  return {get_luaentity = function() return entity end}
end

function rl.undo_edits()
  logging = false
  for i = #undo, 1, -1 do
    local pos, node = undo[i][1], undo[i][2]
    set(pos, node)
    note(pos, rl.number(node.name))
  end
  undo, logging = {}, true
end
function rl.forget_edits() undo = {} end
