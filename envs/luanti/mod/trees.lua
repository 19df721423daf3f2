-- The engine places schematics with a random generator of the whole process, seeded by the clock: a random rotation, and nodes that are there
-- with a probability. So every schematic is registered again, with one rotation and its probabilities drawn once and for all.
minetest.register_on_mods_loaded(function()
  local keys, found = {}, {}
  for key, decoration in pairs(minetest.registered_decorations) do
    keys[#keys + 1] = key
    found[key] = decoration
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  minetest.clear_registered_decorations()
  for _, key in ipairs(keys) do
    local decoration = table.copy(found[key])
    decoration.name = decoration.name or ("decoration_" .. tostring(key))
    if decoration.deco_type == "schematic" then
      decoration.rotation = "0"
      local plan = minetest.read_schematic(decoration.schematic, {write_yslice_prob = "all"})
      if plan then
        for i, node in ipairs(plan.data) do
          local chance = node.prob or node.param1 or 255
          node.param1 = nil
          local certain = chance >= 254 or chance == 127 or chance == 0 or chance == 128
          node.prob = certain and chance or ((i * 7919 % 255) < chance and 255 or 0)
        end
        for _, slice in ipairs(plan.yslice_prob or {}) do slice.prob = slice.prob > 0 and 255 or 0 end
        decoration.schematic = plan
      end
    end
    minetest.register_decoration(decoration)
  end
end)
