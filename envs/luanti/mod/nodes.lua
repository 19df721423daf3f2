-- Facts of every node, by numbers of our own: the engine's content ids follow the order of registration, which differs between processes.
local rl = ...
local ffi = rl.ffi
rl.AIR, rl.UNSEEN = 0, 1                       -- the engine's `ignore` is never told from what was not seen
rl.own = ffi.new("uint16_t[65536]")            -- engine's id -> ours
rl.walkable = ffi.new("uint8_t[65536]")        -- stops a body
rl.pointable = ffi.new("uint8_t[65536]")       -- stops a hand
rl.scoopable = ffi.new("uint8_t[65536]")       -- stops a bucket
rl.liquid = ffi.new("uint8_t[65536]")
rl.drowning = ffi.new("uint8_t[65536]")        -- damage every two seconds to who has no breath left in it
rl.harm = ffi.new("uint8_t[65536]")            -- damage a second to who is in it
rl.opaque = ffi.new("uint8_t[65536]")          -- stops sight
rl.something = ffi.new("uint8_t[65536]")       -- stops a ray of the lidar
rl.drawn = ffi.new("uint8_t[65536]")           -- is in pictures: all but plants, of which a cube would give a wrong idea
rl.code_of = ffi.new("uint8_t[65536]")         -- number in `blocks.BLOCKS`, told by the other end
rl.shown_as = ffi.new("uint16_t[65536]")       -- number of its name, which other nodes may have too; told likewise
rl.kind_of = ffi.new("uint8_t[65536]")         -- remembered kind, from 1; 0 for none
rl.names, rl.id_of = {}, {}
rl.registered = {}

minetest.register_node("rlgpt:crafting_table", {
  description = "Crafting Table",
  tiles = {"default_wood.png^default_tool_woodaxe.png", "default_wood.png", "default_chest_side.png"},
  groups = {choppy = 2, oddly_breakable_by_hand = 2, flammable = 2},
})
minetest.register_craft({output = "rlgpt:crafting_table", recipe = {{"group:wood", "group:wood"}, {"group:wood", "group:wood"}}})

local clear = {airlike = true, plantlike = true, plantlike_rooted = true, torchlike = true, signlike = true, raillike = true, firelike = true,
  glasslike = true, glasslike_framed = true, glasslike_framed_optional = true, liquid = true, flowingliquid = true}
local low = {snow = true}

local function is_low(def)
  -- Nodes of at most half a height, such as a layer of snow: the engine's step height of 0.6 takes them without a jump.
  local box = def.collision_box or def.node_box
  return low[def.name:match(":(.*)")] or (box and box.type == "fixed" and type(box.fixed[1]) == "number" and box.fixed[5] <= 0)
end

minetest.register_on_mods_loaded(function()
  local sorted = {}
  for name in pairs(minetest.registered_nodes) do
    if name ~= "air" and name ~= "ignore" then sorted[#sorted + 1] = name end
  end
  table.sort(sorted)
  table.insert(sorted, 1, "air")
  table.insert(sorted, 2, "ignore")
  for i = 0, 65535 do rl.own[i] = rl.UNSEEN end
  for i, name in ipairs(sorted) do
    local def, id = minetest.registered_nodes[name], i - 1
    local is_liquid = (def.liquidtype or "none") ~= "none"
    rl.own[minetest.get_content_id(name)] = id
    rl.id_of[name], rl.names[id], rl.registered[id] = id, name, def
    rl.walkable[id] = (def.walkable and not is_low(def)) and 1 or 0
    rl.pointable[id] = def.pointable and 1 or 0
    rl.liquid[id] = is_liquid and 1 or 0
    rl.scoopable[id] = (def.pointable or def.liquidtype == "source") and 1 or 0
    rl.drowning[id], rl.harm[id] = def.drowning or 0, def.damage_per_second or 0
    rl.opaque[id] = clear[def.drawtype] and 0 or 1
    rl.something[id] = (id > rl.UNSEEN and def.drawtype ~= "airlike") and 1 or 0
  end
  for id = 0, #sorted - 1 do
    local kind = rl.registered[id].drawtype or ""
    rl.drawn[id] = (rl.something[id] == 1 and not kind:find("^plantlike") and kind ~= "firelike") and 1 or 0
  end
  rl.walkable[rl.UNSEEN], rl.opaque[rl.UNSEEN], rl.pointable[rl.UNSEEN], rl.scoopable[rl.UNSEEN] = 1, 1, 0, 0
  for kind, members in ipairs(rl.settings.kinds) do
    for _, member in ipairs(members) do
      local group = member:match("^group:(.*)")
      for id = 2, #sorted - 1 do
        if rl.names[id] == member or (group and minetest.get_item_group(rl.names[id], group) > 0) then rl.kind_of[id] = kind end
      end
    end
  end
end)

-- Number of a node by its name or alias.
function rl.number(name)
  return rl.id_of[minetest.registered_aliases[name] or name] or rl.UNSEEN
end
