-- One agent without a network client: state in Lua, hands through minetest_game's own callbacks, in lock-step with a program at the other
-- end of an inherited socket. The parts share the table `rl`.
--
--   layout   what travels            map      blocks, edits, undo, what was seen     body     physics
--   nodes    facts of every node     rays     lines through the map                  hands    dig, place, use
--   trees    determinism of v7       sight    what the agent sees                    crafting recipes
--   ores     shallower ores          places   areas and where an episode begins      player   what callbacks take for a player
--   chance   random numbers          picture  id, depth and face of every pixel      serve    the loop
--   hunger   food, healing, daylight  creatures  zombies
local insecure = assert(minetest.request_insecure_environment(), "secure.trusted_mods has to name rlgpt")
local rl = {
  ffi = insecure.require("ffi"),
  bit = insecure.require("bit"),
  exit = insecure.os.exit,
  load = insecure.loadstring,
  fd = assert(tonumber(insecure.os.getenv("RLGPT_FD")), "RLGPT_FD names no descriptor"),
  settings = assert(minetest.parse_json(insecure.os.getenv("RLGPT_SETTINGS") or ""), "RLGPT_SETTINGS holds no JSON"),
}
-- Twenty-odd loops of ours and the game's own code do not fit into LuaJIT's default of machine code, which it then throws away.
insecure.require("jit").opt.start("maxtrace=4000", "maxmcode=8192", "maxrecord=8000")
local folder = minetest.get_modpath(minetest.get_current_modname())
for _, part in ipairs({"layout", "nodes", "ores", "trees", "chance", "map", "rays", "sight", "player", "hunger", "body", "creatures", "crafting", "hands",
    "places",
    "picture", "serve"}) do
  assert(loadfile(folder .. "/" .. part .. ".lua"))(rl)
end
