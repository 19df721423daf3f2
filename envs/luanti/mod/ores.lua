-- Ores nearer to the surface than minetest_game's, where diamonds begin at a depth of 1024. `ores = "stock"` leaves the game's own.
local rl = ...
if rl.settings.ores == "shallow" then
  minetest.clear_registered_ores()
  for _, ore in ipairs(rl.settings.shallow) do
    minetest.register_ore({ore_type = "scatter", ore = ore.node, wherein = "default:stone", clust_scarcity = ore.scarcity ^ 3,
      clust_num_ores = ore.count, clust_size = ore.size, y_max = ore.top, y_min = ore.bottom})
  end
end
