-- Crafting and smelting with the game's own recipes, by the numbers of MineDojo's list. Ingredients are taken out of the bag; no grid is seen.
local rl = ...
local NEAR = 5.0                       -- nodes from the eye to a table or furnace
local recipes = {}                     -- [number] -> list of {items, width, smelts, big}
local fuels = {}                       -- list of {name, seconds}

local function compile(output)
  local found = {}
  for _, recipe in ipairs(minetest.get_all_craft_recipes(output) or {}) do
    local method = recipe.method or recipe.type
    if method == "normal" then
      local width, last = recipe.width, 0
      for i in pairs(recipe.items) do last = math.max(last, i) end
      local big = width > 2 or (width == 0 and last > 4) or (width > 0 and last > 2 * width)
      found[#found + 1] = {items = recipe.items, width = width, big = big, last = last}
    elseif method == "cooking" then
      found[#found + 1] = {items = recipe.items, width = 1, smelts = true, last = 1}
    end
  end
  return found
end

minetest.register_on_mods_loaded(function()
  for number, outputs in pairs(rl.settings.crafts) do
    local list = {}
    for _, output in ipairs(outputs) do
      for _, recipe in ipairs(compile(output)) do list[#list + 1] = recipe end
    end
    recipes[tonumber(number)] = list
  end
  for _, name in ipairs(rl.settings.fuels) do
    local burnt = minetest.get_craft_result({method = "fuel", width = 1, items = {ItemStack(name)}})
    if burnt.time > 0 then fuels[#fuels + 1] = {name = name, seconds = burnt.time} end
  end
end)

-- Whether what has to be near is: `what` is table or furnace.
function rl.near(a, what)
  local kind = rl.settings.near[what]
  return a.near ~= nil and a.near[kind - 1] <= NEAR
end

local function held(a)
  local have, order = {}, {}
  for _, stack in ipairs(a.bag:get_list("main")) do
    local name = stack:get_name()
    if name ~= "" then
      if not have[name] then order[#order + 1] = name end
      have[name] = (have[name] or 0) + stack:get_count()
    end
  end
  table.sort(order)
  return have, order
end

local function fits(name, wanted)
  if name == wanted then return true end
  local groups = wanted:match("^group:(.+)")
  if not groups then return false end
  for group in groups:gmatch("[^,]+") do
    if minetest.get_item_group(name, group) == 0 then return false end
  end
  return true
end

-- The nine fields of a crafting grid filled from what is held; nil if something is missing.
local function fill(recipe, have, order)
  local taken, grid = {}, {"", "", "", "", "", "", "", "", ""}
  for i = 1, recipe.last do
    local wanted = recipe.items[i]
    if wanted and wanted ~= "" then
      local found
      for _, name in ipairs(order) do
        if have[name] - (taken[name] or 0) > 0 and fits(name, wanted) then
          found = name
          break
        end
      end
      if not found then return nil end
      taken[found] = (taken[found] or 0) + 1
      local width = recipe.width
      grid[width == 0 and i or (math.floor((i - 1) / width) * 3 + (i - 1) % width + 1)] = found
    end
  end
  return grid, taken
end

-- Fuel to burn for so many more seconds: [name] -> count, nil if there is not enough.
local function fuel_for(seconds, have, taken)
  local burnt, extra = {}, 0
  for _, fuel in ipairs(fuels) do
    local left = (have[fuel.name] or 0) - (taken[fuel.name] or 0)
    while left > 0 and extra < seconds do
      burnt[fuel.name] = (burnt[fuel.name] or 0) + 1
      extra, left = extra + fuel.seconds, left - 1
    end
  end
  if extra < seconds then return nil end
  return burnt, extra
end

-- What a recipe would do now: a plan, or nil and the reason (see REFUSED in envs/luanti/belongings.py).
local function plan(a, recipe, have, order)
  local grid, taken = fill(recipe, have, order)
  if not grid then return nil, -4 end
  if recipe.smelts then
    if rl.settings.furnace and not rl.near(a, "furnace") then return nil, -6 end
    local result = minetest.get_craft_result({method = "cooking", width = 1, items = {ItemStack(grid[1])}})
    if result.item:is_empty() then return nil, -4 end
    local burnt, extra = {}, 0
    if a.heat < result.time then
      burnt, extra = fuel_for(result.time - a.heat, have, taken)
      if not burnt then return nil, -7 end
    end
    return {taken = taken, burnt = burnt, heat = extra - result.time, item = result.item, left = {}}
  end
  if recipe.big and rl.settings.table and not rl.near(a, "table") then return nil, -5 end
  local stacks = {}
  for i = 1, 9 do stacks[i] = ItemStack(grid[i]) end
  local result = minetest.get_craft_result({method = "normal", width = 3, items = stacks})
  if result.item:is_empty() then return nil, -4 end
  return {taken = taken, burnt = {}, heat = 0, item = result.item, left = result.replacements or {}}
end

-- Craft number `number`; 1 if it was done, else the reason.
function rl.craft(a, number)
  local have, order = held(a)
  local why = -4
  for _, recipe in ipairs(recipes[number] or {}) do
    local made, reason = plan(a, recipe, have, order)
    if made then
      if not a.bag:room_for_item("main", made.item) then return -8 end
      for name, count in pairs(made.taken) do a.bag:remove_item("main", ItemStack({name = name, count = count})) end
      for name, count in pairs(made.burnt) do a.bag:remove_item("main", ItemStack({name = name, count = count})) end
      a.heat = a.heat + made.heat
      a.bag:add_item("main", made.item)
      for _, left in ipairs(made.left) do a.bag:add_item("main", left) end
      a.bag_changed = true
      return 1
    elseif reason < why then
      why = reason
    end
  end
  return why
end

-- The numbers that would be done now.
function rl.craftable(a)
  local have, order = held(a)
  local found = {}
  if #order == 0 then return found end
  for number, list in pairs(recipes) do
    for _, recipe in ipairs(list) do
      if plan(a, recipe, have, order) then
        found[#found + 1] = number
        break
      end
    end
  end
  table.sort(found)
  return found
end
