-- Which land is generated, and where an episode begins. Land that neighbours other land differs at its border by which was made first; so an
-- episode always begins on land that was made alone and in one order, and what an episode made beyond that is deleted with it.
local rl = ...
local floor = math.floor
local SIDE = 80                        -- nodes of the engine's map chunks, the first from -32 to 47
local ready, order, begun = {}, {}, 0  -- chunks that are there, in the order in which they were made; how many of them an episode begins with
local current                          -- the area that is there
local waiting = 0
rl.pending = nil                       -- what to do once the engine has made what is waited for
rl.made = 0                            -- areas made by this server

local function chunk(v) return floor((v + 32) / SIDE) end

local function emerge(list, done)
  waiting = #list
  for _, c in ipairs(list) do
    local middle = {x = c[1] * SIDE + 8, y = c[2] * SIDE + 8, z = c[3] * SIDE + 8}
    minetest.emerge_area(middle, middle, function(_, _, left)
      if left == 0 then waiting = waiting - 1 end
    end)
  end
  rl.pending = function()
    for _, c in ipairs(list) do
      ready[c.key] = true
      order[#order + 1] = c
    end
    if #order > #list then rl.refresh(list) end
    done()
  end
end
function rl.is_waiting() return waiting > 0 end

local function missing(a)
  local list = {}
  local bx, by, bz = floor((a.x + 0.5) / 16), floor((a.y + 0.5) / 16), floor((a.z + 0.5) / 16)
  for cy = floor(by / 5), floor((by + 4) / 5) do
    for cx = floor(bx / 5), floor((bx + 4) / 5) do
      for cz = floor(bz / 5), floor((bz + 4) / 5) do
        local key = cx .. " " .. cy .. " " .. cz
        if not ready[key] then list[#list + 1] = {cx, cy, cz, key = key} end
      end
    end
  end
  return list
end

local block = {}
-- Whether everything within sight is there. If not it is being made, and `done` is called some engine steps later.
function rl.ensure(a, done)
  local x, y, z = floor((a.x + 0.5) / 16), floor((a.y + 0.5) / 16), floor((a.z + 0.5) / 16)
  if block.x == x and block.y == y and block.z == z then return true end
  local list = missing(a)
  if #list > 0 then
    emerge(list, done)
    return false
  end
  block = {x = x, y = y, z = z}
  return true
end

local function clear()
  for _, c in ipairs(order) do
    local x, y, z = c[1] * SIDE - 32, c[2] * SIDE - 32, c[3] * SIDE - 32
    minetest.delete_area({x = x - 16, y = y - 16, z = z - 16}, {x = x + SIDE + 15, y = y + SIDE + 15, z = z + SIDE + 15})
  end
  ready, order, block = {}, {}, {}
  rl.forget_blocks()
  rl.forget_edits()
end

local ACROSS = 600                     -- areas in a row: one a chunk, around the middle of the world
-- The `try`-th candidate for an area: a place on a forest's ground, nil if there is no forest.
local function candidate(area, try)
  local number = (area + try * 104729) % (ACROSS * ACROSS)
  local x, z = (number % ACROSS - ACROSS / 2) * SIDE + 8, (floor(number / ACROSS) - ACROSS / 2) * SIDE + 8
  local y = minetest.get_spawn_level(x, z)
  if not y then return nil end
  local data = minetest.get_biome_data({x = x, y = y, z = z})
  local name = data and minetest.get_biome_name(data.biome) or ""
  if not (name:find("forest") or name == "taiga") or name:find("_ocean") or name:find("_under") then return nil end
  return {x = x, y = y, z = z}
end

local function stands(x, y, z)
  local ground = rl.get(x, y, z)
  if rl.walkable[ground] == 0 or minetest.get_item_group(rl.names[ground], "leaves") > 0 then return false end
  if minetest.get_item_group(rl.names[ground], "tree") > 0 then return false end
  for above = 1, 2 do
    local id = rl.get(x, y + above, z)
    if rl.walkable[id] == 1 or rl.liquid[id] == 1 then return false end
  end
  return true
end

-- A place to stand two to five nodes from the trunk nearest to the middle.
local function beside_tree(middle)
  local trunks = minetest.find_nodes_in_area({x = middle.x - 8, y = middle.y - 8, z = middle.z - 8},
    {x = middle.x + 7, y = middle.y + 16, z = middle.z + 7}, {"group:tree"})
  table.sort(trunks, function(p, q)
    local dp, dq = (p.x - middle.x) ^ 2 + (p.z - middle.z) ^ 2, (q.x - middle.x) ^ 2 + (q.z - middle.z) ^ 2
    if dp ~= dq then return dp < dq end
    if p.y ~= q.y then return p.y < q.y end
    return p.x * 1000 + p.z < q.x * 1000 + q.z
  end)
  local trunk = trunks[1]
  if not trunk then return nil end
  for far = 2, 5 do
    for _, way in ipairs({{1, 0}, {0, 1}, {-1, 0}, {0, -1}, {1, 1}, {-1, 1}, {-1, -1}, {1, -1}}) do
      for y = trunk.y + 1, trunk.y - 3, -1 do
        local x, z = trunk.x + way[1] * far, trunk.z + way[2] * far
        if stands(x, y, z) then return {x = x, y = y + 0.5, z = z} end
      end
    end
  end
  return nil
end

-- Begin in area `area`; `done(place)` is called when the land is there. Raises an error if no try finds a forest.
local function search(area, try, done)
  local middle
  while not middle do
    if try > 2000 then error("area " .. area .. ": no forest in 2000 tries") end
    middle = candidate(area, try)
    try = try + 1
  end
  local seen_from = {x = middle.x, y = middle.y + 1, z = middle.z}
  local function look()
    local place = beside_tree(middle)
    if place then return done(place) end
    clear()
    search(area, try, done)
  end
  local function prepare()
    if rl.ensure(seen_from, prepare) then look() end
  end
  prepare()
end

function rl.enter_area(area, done)
  if current and current.area == area and #order == begun then
    rl.undo_edits()
    rl.forget_seen()
    return done(current.place)
  end
  clear()
  current = nil
  rl.made = rl.made + 1
  search(area, 0, function(place)
    local function settle()
      if not rl.ensure(place, settle) then return end
      current, begun = {area = area, place = place}, #order
      done(place)
    end
    settle()
  end)
end
