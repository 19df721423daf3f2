"""A stand-in for the Java side of MineDojo 0.1 (Minecraft 1.11.2 with Malmo 0.37.0): its protocol over tcp, and a world of its own.

In a test: `game = StandIn(constants).start()`, then MineDojo's own `InstanceManager.add_existing_instance(game.port)`, and `game.world`
can be edited. As a process: `stand_in.py -port P ...`, the arguments of MineDojo's launchClient.sh; settings come from the environment
variables STAND_IN_CONSTANTS (path of mc_constants.json), STAND_IN_SLOW (seconds before it is ready) and STAND_IN_EVENTS (JSON).
Every message, both ways, is a big-endian uint32 length and the bytes. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from stand_in_world import DISPLAYED, GROUND, RAY_REACH, World

VERSION = "0.37.0"
SKY, GRASS = b"\x78\xa7\xff", b"\x5b\x8c\x33"
COLOURS = {"cow": b"\x44\x36\x26", "sheep": b"\xe6\xe6\xe6", "pig": b"\xf0\x9a\xa0", "log": b"\x66\x51\x33"}


class StandIn:
    """The server. One world, whoever connects; with `worlds`, every connection has one of its own, made by it.

    events  {step of the mission: what happens in it}: `drop` the connection, `hang`, `exit` the process, `done` (the mission ends), `die`
    """

    def __init__(
        self,
        constants: Path | None = None,
        port: int = 0,
        events: dict[int, str] | None = None,
        worlds: Callable[[], World] | None = None,
    ) -> None:
        self._worlds = worlds
        self.world, self.events, self.steps, self.missions = worlds() if worlds else World(constants), dict(events or {}), 0, 0
        self._listener = socket.create_server(("127.0.0.1", port), backlog=8)
        self.port = self._listener.getsockname()[1]
        self._done = self._running = False
        self._shown = ""
        self._snapshot()

    def start(self) -> StandIn:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def close(self) -> None:
        """Take no further connection; those there are go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            game = self
            if self._worlds is not None:
                game = StandIn(events=self.events, worlds=self._worlds)
                game.close()
            threading.Thread(target=game._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            if not _receive(connection).startswith(f"<MalmoEnv{VERSION}"):
                return
            while self._answer(connection, _receive(connection)):
                pass

    def _answer(self, connection: socket.socket, message: str) -> bool:
        """Whether the connection goes on."""
        if message.startswith("<StepClient"):
            return self._step(connection, message)
        if message.startswith("<StepServer"):  # no reply
            self.world.server()
            self._snapshot()
        elif message.startswith("<Peek"):
            _send(connection, self.frame(), self.info().encode(), struct.pack("!b", self._done))
        elif message.startswith("<MissionInit"):
            _receive(connection)  # a token: <uid>:<role>:<reset>:<agents>:true
            self.world.load(message)
            self.steps, self.missions, self._running, self._done = 0, self.missions + 1, True, False
            self._snapshot()
            _send(connection, struct.pack("!I", 1))
        elif message.startswith("<Quit"):
            _send(connection, struct.pack("!I", 0 if self._running else 1))
            self._running, self._done = False, True
        elif message.startswith("<Exit"):
            _send(connection, struct.pack("!I", 1))
            return False
        elif message.startswith(("<Init", "<Close", "<Interact")):
            _send(connection, struct.pack("!I", 1))
        elif message.startswith("<Find"):
            _send(connection, struct.pack("!I", 0))
        else:  # <Disconnect/>
            return False
        return True

    def _step(self, connection: socket.socket, message: str) -> bool:
        self.steps += 1
        event = self.events.get(self.steps, "")
        if event == "exit":
            os._exit(3)
        if event == "drop":
            return False
        if event == "hang":
            time.sleep(3600)
        if event == "die":
            self.world.die()
            self._snapshot()
        self._done = self._done or event == "done"
        self.world.client(message[len("<StepClient0>") : -len("</StepClient0 >")].split("\n"))
        head = struct.pack("!dbb", 0.0, self._done, 1)
        _send(connection, self.frame(), head, self.info().encode()) if message[11] in "02" else _send(connection, self.frame(), head)
        return True

    def _snapshot(self) -> None:
        """What the game's server knows; the client shows it from the next step on."""
        world = self.world
        bag = [
            {
                "name": name,
                "variant": variant,
                "quantity": quantity,
                "max_durability": -1,
                "cur_durability": -1,
                "index": i,
                "inventory": "inventory",
            }
            for i, (name, variant, quantity) in enumerate(world.slots)
        ]
        shown = {
            "inventory": bag,
            "inventories_available": [{"name": "inventory", "size": 41}],
            "current_item_index": 0,
            "nearby_crafting_table": world.near(world.tables),
            "nearby_furnace": world.near(world.furnaces),
        }
        if world.grid:
            shown["voxels"] = self._voxels()
        self._shown = json.dumps(shown)[1:-1]

    def _voxels(self) -> list:
        """Ten values a block; x fastest, then y, then z."""
        world, view, values = self.world, self.world.direction(), []
        (x0, y0, z0), (x1, y1, z1) = world.grid
        base = tuple(math.floor(part) for part in (world.x, world.y, world.z))
        cells = [(x, y, z) for z in range(z0, z1 + 1) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)]
        for cell in cells:
            name = world.block(*(a + b for a, b in zip(base, cell, strict=True)))
            offset = tuple(b + c - e for b, c, e in zip(base, cell, (world.x, world.y + 1.62, world.z), strict=True))
            cosine = sum(a * b for a, b in zip(offset, view, strict=True)) / (math.hypot(*offset) or 1.0)
            solid, soft = name != "air", name in ("air", "dirt", "grass", "log")
            values += [displayed(name), 0, solid, soft, solid, False, solid, name in ("log", "planks"), solid, cosine]
        return values

    def _rays(self) -> list:
        """Sixteen values a ray."""
        values = []
        for pitch, yaw, reach in self.world.rays:
            view = self.world.direction(pitch, yaw)
            block, mob = self.world.hit_block(view, min(reach, RAY_REACH)), self.world.hit_mob(view, min(reach, RAY_REACH))
            name, cell, distance = (block[0], block[1], block[3]) if block else ("air", (0, 0, 0), reach)
            entity, far = (f"Entity{mob[0][0].capitalize()}", mob[1]) if mob else ("null", distance)
            values += [displayed(name), distance, 0, -1, True, bool(block), False, bool(block), False, entity, far, pitch, yaw, *cell]
        return values

    def info(self) -> str:
        """The flat JSON that comes with a frame."""
        world = self.world
        shown = {
            "life": 0.0 if world.died else world.life,
            "food": world.food,
            "saturation": 5.0,
            "armor": 0,
            "air": 300,
            "xp": 0,
            "score": 0,
            "name": "MineDojoAgent0",
            "is_alive": not world.died,
            "is_dead": world.died,
            "living_death_event_fired": world.died,
            "is_sleeping": False,
            "xpos": world.x,
            "ypos": world.y,
            "zpos": world.z,
            "pitch": world.pitch,
            "yaw": world.yaw,
            "biome_name": "Plains",
            "biome_id": world.biome,
            "biome_temperature": 0.8,
            "biome_rainfall": 0.4,
            "sea_level": GROUND,
            "light_level": 15,
            "sun_brightness": 1.0,
            "sky_light_level": 1.0,
            "is_raining": False,
            "can_see_sky": True,
            "world_time": world.ticks,
            "total_time": world.ticks,
            "distance_travelled_cm": 0,
            "damage_source": {
                "damage_amout": 0.0,  # Malmo's own spelling
                "hunger_damage": 0,
                "is_fire_damage": False,
                "is_magic_damage": False,
                "is_explosion": False,
                "is_projectile": False,
                "is_unblockable": False,
                "damage_distance": 0,
                "damage_pitch": 0,
                "damage_yaw": 0,
            },
        }
        if world.rays:
            shown["rays"] = self._rays()
        counted = {**world.statistics, "stat": {**world.statistics.get("stat", {}), "time_since_death": world.since_death}}
        return "{" + json.dumps(shown)[1:-1] + ", " + self._shown + ", " + json.dumps(counted)[1:-1] + "}"

    def frame(self) -> bytes:
        """RGB bytes, the bottom row first: grass below the horizon, sky above, mobs and trunks as bars."""
        world, width, height = self.world, self.world.width, self.world.height
        horizon = max(0, min(height, int(height / 2 + world.pitch / 70.0 * height)))
        ground, air = bytearray(GRASS * width), bytearray(SKY * width)
        things = [(mob[1], mob[2], COLOURS.get(mob[0], b"\xff\x00\xff")) for mob in world.mobs]
        trunks = [cell for cell, name in world.blocks.items() if name == "log" and cell[1] == GROUND + 1]
        things += [(cell[0] + 0.5, cell[2] + 0.5, COLOURS["log"]) for cell in trunks]
        for x, z, colour in things:
            distance = math.hypot(x - world.x, z - world.z) or 0.1
            aside = (math.degrees(math.atan2(world.x - x, z - world.z)) - world.yaw + 180) % 360 - 180
            middle, half = int(width * (0.5 + aside / 100.0)), max(1, int(width * 0.15 / distance))
            left, right = max(0, middle - half), min(width, middle + half)
            if abs(aside) < 50 and right > left:
                ground[left * 3 : right * 3] = air[left * 3 : right * 3] = colour * (right - left)
        tall = min(height - horizon, height // 4)
        return bytes(ground) * horizon + bytes(air) * tall + SKY * (width * (height - horizon - tall))


def displayed(block: str) -> str:
    """A block's name as the game displays it."""
    return DISPLAYED.get(block, block.replace("_", " "))


def _receive(connection: socket.socket) -> str:
    return _exactly(connection, struct.unpack("!I", _exactly(connection, 4))[0]).decode()


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _send(connection: socket.socket, *parts: bytes) -> None:
    connection.sendall(b"".join(struct.pack("!I", len(part)) + part for part in parts))


def main(arguments: list[str]) -> None:
    """As a process: `-port P` counts, the other arguments of launchClient.sh are ignored."""
    constants = os.environ.get("STAND_IN_CONSTANTS")
    events = {int(step): event for step, event in json.loads(os.environ.get("STAND_IN_EVENTS") or "{}").items()}
    game = StandIn(Path(constants) if constants else None, int(arguments[arguments.index("-port") + 1]), events)
    time.sleep(float(os.environ.get("STAND_IN_SLOW") or 0))
    sys.stdout.write(f"***** Start MalmoEnvServer on port {game.port}\n")
    game.start()
    sys.stdout.write("CLIENT enter state: DORMANT\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
