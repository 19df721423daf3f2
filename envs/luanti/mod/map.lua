-- The map as the agent's ticks read it: copies of 16^3 blocks, and beside each what of it was seen. Edits go through here and can be undone.
local rl = ...
local ffi, bit = rl.ffi, rl.bit
local band, lshift, arshift, floor = bit.band, bit.lshift, bit.arshift, math.floor
local UNSEEN = rl.UNSEEN
local blocks = {}                 -- [key] -> uint16[8192]: what is there, then what is known of it; with `xray` they are the same
local KNOWN = rl.settings.xray and 0 or 4096
local last_key, last_block
local buffer = {}
rl.changes, rl.edits = 0, 0       -- count whatever could change what is known, and what is there

local function key_of(bx, by, bz) return (bx + 2048) + (by + 2048) * 4096 + (bz + 2048) * 16777216 end

local function read(bx, by, bz, key)
  local manip = minetest.get_voxel_manip()
  manip:read_from_map({x = bx * 16, y = by * 16, z = bz * 16}, {x = bx * 16 + 15, y = by * 16 + 15, z = bz * 16 + 15})
  manip:get_data(buffer)
  local block, own = ffi.new("uint16_t[8192]"), rl.own
  for i = 0, 4095 do
    block[i] = own[buffer[i + 1]]
    if KNOWN > 0 then block[i + KNOWN] = UNSEEN end
  end
  blocks[key] = block
  return block
end

local function enter(x, y, z)
  local bx, by, bz = arshift(x, 4), arshift(y, 4), arshift(z, 4)
  local key = key_of(bx, by, bz)
  if key ~= last_key then
    last_key, last_block = key, blocks[key] or read(bx, by, bz, key)
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
  if last_block[i + KNOWN] ~= id then
    last_block[i + KNOWN] = id
    rl.changes = rl.changes + 1
    local kind = rl.kind_of[id]
    if kind > 0 then rl.remember(kind, x, y, z) end
  end
  return id
end

-- What the agent knows to be there.
function rl.known(x, y, z)
  local i = enter(x, y, z)
  return last_block[i + KNOWN]
end

-- A row of what is known, from x on, copied to `target`.
function rl.copy_row(x, y, z, count, target)
  while count > 0 do
    local i = enter(x, y, z)
    local n = math.min(count, 16 - band(x, 15))
    ffi.copy(target, last_block + KNOWN + i, n * 2)
    target, x, count = target + n, x + n, count - n
  end
end

function rl.forget_seen()
  if rl.settings.xray then return end
  local blank = ffi.new("uint16_t[4096]")
  for i = 0, 4095 do blank[i] = UNSEEN end
  for _, block in pairs(blocks) do ffi.copy(block + KNOWN, blank, 8192) end
  rl.changes = rl.changes + 1
end

function rl.forget_blocks()
  blocks, last_key, last_block = {}, nil, nil
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
              if old[i + KNOWN] ~= UNSEEN then block[i + KNOWN] = block[i] end
            end
          end
        end
      end
    end
  end
  last_key = nil
  rl.changes, rl.edits = rl.changes + 1, rl.edits + 1
end

local undo, logging = {}, true
local set, remove, swap = minetest.set_node, minetest.remove_node, minetest.swap_node

local function note(pos, id)
  local x, y, z = floor(pos.x + 0.5), floor(pos.y + 0.5), floor(pos.z + 0.5)
  if logging then undo[#undo + 1] = {vector.new(x, y, z), minetest.get_node(pos)} end
  local i = enter(x, y, z)
  local was_known = last_block[i + KNOWN] ~= UNSEEN
  last_block[i] = id
  if was_known then rl.look(x, y, z) end
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
