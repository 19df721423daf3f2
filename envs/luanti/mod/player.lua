-- What minetest_game's callbacks take for a player.
local rl = ...
local Agent = {}
Agent.__index = Agent
local nothing = {get_string = function() return "" end, set_string = function() end, get_int = function() return 0 end, set_int = function() end}

function Agent:is_player() return true end
function Agent:get_player_name() return "agent" end
function Agent:get_inventory() return self.bag end
function Agent:get_wield_index() return 1 end
function Agent:get_wield_list() return "main" end
function Agent:get_wielded_item() return self.bag:get_stack("main", 1) end
function Agent:set_wielded_item(stack)
  self.bag:set_stack("main", 1, stack)
  self.bag_changed = true
  return true
end
function Agent:get_pos() return {x = self.x, y = self.y, z = self.z} end
function Agent:get_look_dir() local x, y, z = rl.direction(self) return {x = x, y = y, z = z} end
function Agent:get_look_horizontal() return math.rad(180 - self.yaw) % (2 * math.pi) end
function Agent:get_look_vertical() return math.rad(self.pitch) end
function Agent:get_player_control() return {sneak = self.sneaking, aux1 = false} end
function Agent:get_hp() return self.hp end
function Agent:set_hp(hp) self.hp = math.max(0, math.min(20, hp)) end
function Agent:get_properties() return {eye_height = rl.EYE, hp_max = 20} end
function Agent:get_breath() return self.breath end
function Agent:get_meta() return nothing end
function Agent:get_armor_groups() return {fleshy = 100} end
function Agent:punch() end

rl.SLOTS = 36
local bag = nil
minetest.register_on_mods_loaded(function()
  bag = minetest.create_detached_inventory("rlgpt", {})
  bag:set_size("main", rl.SLOTS)
end)

-- A new life at `place` = {x, y, z}.
function rl.born(place)
  bag:set_list("main", {})
  bag:set_size("main", rl.SLOTS)
  return setmetatable({x = place.x, y = place.y, z = place.z, yaw = 0, pitch = 0, vy = 0, hp = 20, breath = 10, tick = 0, on_ground = false,
    sneaking = false, digging = 0, progress = 0, heat = 0, damage = 0, dug = -1, done = 0, bag = bag, bag_changed = true,
    breath_clock = 0, hurt_clock = 0, food = 20, saturation = 5, exhausted = 0, digested = 0,
    origin_x = math.floor(place.x + 0.5), origin_z = math.floor(place.z + 0.5)}, Agent)
end
