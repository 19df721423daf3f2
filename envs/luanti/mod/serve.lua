-- The loop: requests are answered inside one step of the engine, thousands of them, until the engine itself has something to do.
local rl = ...
local ffi, C = rl.ffi, rl.ffi.C
local HELLO, RESET, STEP, PROBE, STOP, CODES = 1, 2, 3, 4, 5, 6
local action, whole = ffi.new("rl_action"), ffi.new("rl_answer")
local request, reply, sight = action.request, whole.reply, whole.sight
local ACTION, ALWAYS, ALL = ffi.sizeof("rl_action"), ffi.sizeof("rl_reply"), ffi.sizeof("rl_answer")
local agent

local function read(target, size)
  local got = 0
  while got < size do
    local n = tonumber(C.read(rl.fd, ffi.cast("char *", target) + got, size - got))
    if n <= 0 then return false end
    got = got + n
  end
  return true
end

local function write(source, size)
  local put = 0
  while put < size do
    local n = tonumber(C.write(rl.fd, ffi.cast("const char *", source) + put, size - put))
    if n <= 0 then error("the other end is gone") end
    put = put + n
  end
end

local function write_text(text)
  local size = ffi.new("int32_t[1]", #text)
  write(size, 4)
  write(text, #text)
end

-- The text after a request, of which the first `got` bytes came along with it.
local function read_text(size, got)
  local text = ffi.new("char[?]", math.max(1, size))
  ffi.copy(text, action.parts, math.min(got, size))
  if got < size and not read(text + got, size - got) then return nil end
  return ffi.string(text, size)
end

-- A line for every slot that is not empty: its number, the item, how many, its wear; then the numbers of what can be crafted.
local function belongings()
  agent.hand = nil
  local lines = {}
  for i, stack in ipairs(agent.bag:get_list("main")) do
    if not stack:is_empty() then
      lines[#lines + 1] = (i - 1) .. " " .. stack:get_name() .. " " .. stack:get_count() .. " " .. stack:get_wear()
    end
  end
  lines[#lines + 1] = "craftable " .. table.concat(rl.craftable(agent), " ")
  return table.concat(lines, "\n")
end

local function answer(with_picture)
  rl.see(agent, reply, sight)
  if rl.settings.monsters then rl.tell_creatures(agent, reply) end
  reply.progress, reply.breath, reply.tick, reply.damage = agent.progress, agent.breath, agent.tick, agent.damage
  reply.on_ground, reply.in_liquid = agent.on_ground and 1 or 0, agent.in_liquid and 1 or 0
  reply.died, reply.done, reply.dug = agent.hp <= 0 and 1 or 0, agent.done, agent.dug
  local text = agent.bag_changed and belongings() or ""
  agent.bag_changed = false
  local fixed = reply.fresh == 1 and ALL or ALWAYS
  reply.tail = #text
  reply.total = fixed + #text + (with_picture and rl.PICTURE_BYTES or 0)
  write(whole, fixed)
  if #text > 0 then write(text, #text) end
  if with_picture then write(rl.paint(agent), rl.PICTURE_BYTES) end
end

local function tick(first)
  local p = action.parts
  if first then
    agent.yaw = (agent.yaw + (p[4] - 12) * rl.settings.camera + 180) % 360 - 180
    agent.pitch = math.max(-90, math.min(90, agent.pitch + (p[3] - 12) * rl.settings.camera))
  end
  local way = {[0] = 0, 1, -1}
  rl.move(agent, way[p[0]], way[p[1]], p[2] == 1, p[2] == 2, p[2] == 3)
  local done = rl.act(agent, p[5], p[6], p[7], first)
  if done ~= 0 then agent.done = done end
  rl.live_creatures(agent)
  agent.tick = agent.tick + 1
end

-- Ticks that are left of an action; land that is missing is made in between.
local function play(left, first)
  while left > 0 and agent.hp > 0 do
    tick(first)
    first, left = false, left - 1
    local function go_on()
      if rl.ensure(agent, go_on) then play(left, false) end
    end
    if not rl.ensure(agent, go_on) then return end
  end
  answer(action.picture ~= 0)
end

local function reset(order)
  rl.enter_area(order.area, function(place)
    rl.seed(order.seed)
    rl.forget_remembered()
    rl.forget_pose()
    rl.forget_creatures()
    agent = rl.born(place)
    for i, item in ipairs(order.inventory or {}) do agent.bag:set_stack("main", i, ItemStack({name = item[1], count = item[2]})) end
    rl.agent = agent
    answer(order.picture)
  end)
end

-- The numbers of blocks follow, once they are told.
local function hello()
  local nodes = {}
  for id = 0, #rl.names do
    local def, tiles = rl.registered[id], {}
    for i = 1, 6 do
      local tile = def.tiles and (def.tiles[i] or def.tiles[#def.tiles]) or ""
      tiles[i] = type(tile) == "table" and (tile.name or "") or tile
    end
    nodes[id + 1] = {rl.names[id], rl.walkable[id], rl.liquid[id], tiles}
  end
  write_text(minetest.write_json({nodes = nodes, reply = ALWAYS, sight = ffi.sizeof("rl_sight"), action = ACTION,
    picture = rl.PICTURE_BYTES}))
end

local function probe(code)
  local run = assert(rl.load(code))
  setfenv(run, setmetatable({rl = rl, agent = agent}, {__index = _G}))
  local told = run()
  write_text(tostring(told))
end

-- One request; whether the loop goes on within this step of the engine.
local function serve()
  if rl.pending then
    if rl.is_waiting() then return false end
    local resume = rl.pending
    rl.pending = nil
    resume()
    if rl.pending then return false end
  end
  -- Mostly an action, in one piece. The other end sends nothing before it was answered.
  local got = tonumber(C.read(rl.fd, action, ACTION))
  if got < 8 then
    minetest.request_shutdown()
    rl.fd = -1
    return false
  end
  got = got - 8
  if request.command == STEP then
    if got < ACTION - 8 and not read(ffi.cast("char *", action.parts) + got, ACTION - 8 - got) then return false end
    agent.done, agent.dug, agent.damage = 0, -1, 0
    play(action.ticks, true)
  elseif request.command == RESET then
    reset(minetest.parse_json(read_text(request.size, got)))
  elseif request.command == CODES then
    local codes = read_text(request.size, got)
    local count = #codes / 3
    ffi.copy(rl.code_of, codes, count)
    ffi.copy(rl.shown_as, codes:sub(count + 1), 2 * count)
  elseif request.command == HELLO then
    hello()
  elseif request.command == PROBE and rl.settings.probe then
    probe(read_text(request.size, got))
  elseif request.command == STOP then
    minetest.request_shutdown()
    rl.fd = -1
    return false
  else
    error("unknown request " .. request.command)
  end
  return not rl.pending
end

minetest.register_globalstep(function()
  if rl.fd < 0 then return end
  rl.begin_chance()
  local fine, problem = xpcall(function() while serve() do end end, debug.traceback)
  rl.end_chance()
  if not fine then
    minetest.log("error", "rlgpt: " .. tostring(problem))
    rl.exit(3)  -- the other end is told by the closed socket
  end
end)
