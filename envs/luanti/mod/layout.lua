-- What travels over the socket; `envs/luanti/wire.py` has the same structures. Coordinates outside of this mod are Minecraft's: x east, y up,
-- z south (the engine's z is north), x and z from the block the episode began in; block i reaches from i to i + 1 (the engine's node from i - 0.5 to i + 0.5).
local rl = ...
rl.RADIUS, rl.HEIGHT = 8, 5            -- of the cube of blocks around the agent
rl.WIDTH, rl.DEPTH = 2 * 8 + 1, 2 * 5 + 1
rl.CELLS = rl.WIDTH * rl.WIDTH * rl.DEPTH
rl.ROWS, rl.COLUMNS = 7, 9             -- of the lidar
rl.REACH = 32                          -- of sight, in nodes
rl.KINDS, rl.KEPT, rl.HITS = 12, 4, 24 -- remembered kinds of blocks, the nearest of each that are told, kinds of hits told
local sizes = {CELLS = rl.CELLS, RAYS = rl.ROWS * rl.COLUMNS, KINDS = rl.KINDS, PLACES = rl.KINDS * rl.KEPT * 3, COMPASS = rl.KINDS * 4, HITS = rl.HITS}
rl.ffi.cdef((([[
ssize_t read(int fd, void *buffer, size_t size);
ssize_t write(int fd, const void *buffer, size_t size);
typedef struct { int32_t command, size; } rl_request;
typedef struct { rl_request request; int32_t parts[8], ticks, picture; } rl_action;
typedef struct {
  int32_t total, tail, fresh;
  int32_t on_ground, in_liquid, died, done, tick, damage, dug, pointed[4], creatures;
  float progress, breath, self[16];
  float lidar[RAYS], nearest[COMPASS], creature_at[12];
} rl_reply;
// Follows only where `fresh` says that something of it has changed; then come `tail` bytes of text, then the picture.
typedef struct {
  int32_t counts[KINDS], places[PLACES];
  int32_t hits, hit_names[HITS];
  float hit_at[HITS * 3];
  uint16_t around[27];
  uint8_t cube[CELLS], padding[3];
} rl_sight;
typedef struct { rl_reply reply; rl_sight sight; } rl_answer;
typedef struct { uint16_t id[4096], depth[4096]; uint8_t face[4096]; } rl_picture;
]]):gsub("%u%u%u+", function(name) return sizes[name] and tostring(sizes[name]) end)))
