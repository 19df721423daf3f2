-- The map as the agent's ticks read it: copies of 16^3 blocks, and beside each what of it was seen. Edits go through here and can be undone.
local rl = ...
local ffi, bit = rl.ffi, rl.bit
local band, lshift, arshift, floor = bit.band, bit.lshift, bit.arshift, math.floor
local UNSEEN = rl.UNSEEN
local blocks, seen = {}, {}       -- [key] -> uint16[4096]; with `xray` both are the same arrays
local last_key, last_block, last_seen
local buffer = {}
rl.changes = 0                    -- counts whatever could change a view

local function key_of(bx, by, bz) return (bx + 2048) + (by + 2048) * 4096 + (bz + 2048) * 16777216 end

local function read(bx, by, bz, key)
  local manip = minetest.get_voxel_manip()
  manip:read_from_map({x = bx * 16, y = by * 16, z = bz * 16}, {x = bx * 16 + 15, y = by * 16 + 15, z = bz * 16 + 15})
  manip:get_data(buffer)
  local block, own = ffi.new("uint16_t[4096]"), rl.own
  for i = 0, 4095 do block[i] = own[buffer[i + 1]] end
  blocks[key] = block
  if rl.settings.xray then
    seen[key] = block
  else
    seen[key] = ffi.new("uint16_t[4096]")
    ffi.fill(seen[key], 8192, 0)
    for i = 0, 4095 do seen[key][i] = UNSEEN end
  end
end

local function enter(x, y, z)
  local bx, by, bz = arshift(x, 4), arshift(y, 4), arshift(z, 4)
  local key = key_of(bx, by, bz)
  if key ~= last_key then
    if blocks[key] == nil then read(bx, by, bz, key) end
    last_key, last_block, last_seen = key, blocks[key], seen[key]
  end
  return band(x, 15) + lshift(band(y, 15), 4) + lshift(band(z, 15), 8)
end

-- What is there. Whoever asks has seen to it that the place was generated (places.lua).
function rl.get(x, y, z)
  local i = enter(x, y, z)
  return last_block[i]
end

-- What is there, which from now on counts as seen.
function rl.look(x, y, z)
  local i = enter(x, y, z)
  local id = last_block[i]
  if last_seen[i] ~= id then
    last_seen[i] = id
    rl.changes = rl.changes + 1
    local kind = rl.kind_of[id]
    if kind > 0 then rl.remember(kind, x, y, z) end
  end
  return id
end

-- What the agent knows to be there.
function rl.known(x, y, z)
  local i = enter(x, y, z)
  return last_seen[i]
end

-- A row of what is known, from x on, copied to `target`.
function rl.copy_row(x, y, z, count, target)
  while count > 0 do
    local i = enter(x, y, z)
    local n = math.min(count, 16 - band(x, 15))
    ffi.copy(target, last_seen + i, n * 2)
    target, x, count = target + n, x + n, count - n
  end
end

function rl.forget_seen()
  if rl.settings.xray then return end
  local blank = ffi.new("uint16_t[4096]")
  for i = 0, 4095 do blank[i] = UNSEEN end
  for _, known in pairs(seen) do ffi.copy(known, blank, 8192) end
  rl.changes = rl.changes + 1
end

function rl.forget_blocks()
  blocks, seen, last_key = {}, {}, nil
  rl.changes = rl.changes + 1
end

local undo, logging = {}, true
local set, remove, swap = minetest.set_node, minetest.remove_node, minetest.swap_node

local function note(pos, id)
  local x, y, z = floor(pos.x + 0.5), floor(pos.y + 0.5), floor(pos.z + 0.5)
  if logging then undo[#undo + 1] = {vector.new(x, y, z), minetest.get_node(pos)} end
  local i = enter(x, y, z)
  local was_known = last_seen[i] ~= UNSEEN
  last_block[i] = id
  if was_known then rl.look(x, y, z) end
  rl.changes = rl.changes + 1
end

function minetest.set_node(pos, node) note(pos, rl.number(node.name)) return set(pos, node) end
minetest.add_node = minetest.set_node
function minetest.remove_node(pos) note(pos, rl.AIR) return remove(pos) end
function minetest.swap_node(pos, node) note(pos, rl.number(node.name)) return swap(pos, node) end

-- There are no moving objects: what falls is at the bottom at once, and what would lie about is lost.
function minetest.spawn_falling_node(pos)
  local node, y = minetest.get_node(pos), pos.y
  minetest.remove_node(pos)
  while y > -30000 and rl.walkable[rl.get(pos.x, y - 1, pos.z)] == 0 and rl.get(pos.x, y - 1, pos.z) ~= UNSEEN do y = y - 1 end
  minetest.set_node({x = pos.x, y = y, z = pos.z}, node)
  return true
end
function minetest.add_item() return nil end

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
