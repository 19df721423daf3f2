"""A hand-written controller for Crafter's diamond: the bar that plans, models and learning are measured against. No model wrote it.

One skill, `by_hand`, on the toolkit alone; it decides anew in every step, so that it needs no interrupts. What it does and why is told at
each part. `bench_crafter_by_hand.py` measures it.
"""

import numpy as np

from rlgpt.envs.crafter.toolkit import (
    can,
    collectable,
    enter,
    free,
    missing,
    near,
    needs,
    phase,
    positions,
    seen,
    threats,
    ways,
)

NOOP, LEFT, RIGHT, UP, DOWN, DO, SLEEP, STONE, TABLE, FURNACE, PLANT = range(11)
MAKE = {"wood_pickaxe": 11, "stone_pickaxe": 12, "iron_pickaxe": 13, "wood_sword": 14, "stone_sword": 15, "iron_sword": 16}
SIDES = {(-1, 0): LEFT, (1, 0): RIGHT, (0, -1): UP, (0, 1): DOWN}
WATER, GRASS, ROCK, PATH, SAND, TREE, LAVA, COAL, IRON, DIAMOND = range(1, 11)
FAR = 1 << 20
NUMBER = {
    "water": 1,
    "grass": 2,
    "stone": 3,
    "path": 4,
    "sand": 5,
    "tree": 6,
    "lava": 7,
    "coal": 8,
    "iron": 9,
    "diamond": 10,
    "table": 11,
    "furnace": 12,
}
COW = 1
MOUNTAIN = (ROCK, PATH, COAL, IRON, DIAMOND, LAVA)
DUSK, DAWN = 150, 300


def by_hand(obs, info):
    """Play a whole episode."""
    mind = Mind()
    while True:
        _, info = yield mind.decide(info)


class Spot:
    """A cell, what is there, and how many actions it takes to stand next to it."""

    def __init__(self, x, y, what, steps):
        self.cell, self.what, self.steps = (x, y), what, steps


class Mind:
    """What the controller keeps in mind from step to step."""

    def __init__(self):
        self.guards = {}  # stones put before arrows -> step until which they stay
        self.goal = None  # cell that is explored towards
        self.shelter = None  # (outside, inner wall, back wall)
        self.tabu = {}  # cell -> step until which it is no goal: it was tried in vain
        self.belongings, self.trail, self.stuck = None, [], 0
        self.wooded = self.weak = False
        self.hit = -100  # step of the last hit behind closed doors
        self.looked = -100  # step of the last search for a shelter

    def decide(self, info):
        """The next action: danger first, then the night, needs, and the way to the diamond."""
        self.info, self.memory = info, seen(info)
        self.here, self.has, self.step = self.memory.position, info["inventory"], info["step"]
        if info["damage"] >= 2:
            self.hit = self.step  # asleep, one learns of it a step before one wakes
        if info["sleeping"]:
            return NOOP
        self.enemies = threats(info)
        self.closed = self.sealed()
        self.fear = self.fears()
        self.ways = ways(info, danger=self.fear)
        # Actions until one stands before a cell: the toolkit's `nearest`, for many questions in one step.
        cost = np.full((66, 66), FAR)
        cost[1:-1, 1:-1] = np.where(self.ways.cost < 0, FAR, self.ways.cost)
        self.before = np.minimum(np.minimum(cost[:-2, 1:-1], cost[2:, 1:-1]), np.minimum(cost[1:-1, :-2], cost[1:-1, 2:]))
        now = self.memory.items[4:].tolist()
        if now != self.belongings or self.here not in self.trail:
            self.belongings, self.stuck = now, 0
        self.stuck += 1
        self.trail = [*self.trail[-5:], self.here]
        # Turning to and fro in the same few cells by day: whatever it is, it does not work here.
        if self.stuck > 25 and not (self.dark() and self.closed) and not self.weak:
            self.goal, self.shelter = None, None
            if self.stuck > 31:
                self.stuck = 0
            return self.anywhere()
        for part in (self.defend, self.night, self.live, self.progress):
            action = part()
            if action is not None:
                return action
        return NOOP

    # Danger

    def fears(self):
        """Cells to keep off: around zombies, and in line with skeletons."""
        fear = np.zeros((64, 64), np.int16)
        for enemy in self.enemies:
            x, y = enemy.x, enemy.y
            if enemy.kind == "zombie":
                for dx in range(-2, 3):
                    for dy in range(-2, 3):
                        if abs(dx) + abs(dy) <= 2 and 0 <= x + dx < 64 and 0 <= y + dy < 64:
                            fear[x + dx, y + dy] += 6
            elif enemy.kind == "skeleton":
                for dx, dy in SIDES:
                    for k in range(1, 6):
                        i, j = x + k * dx, y + k * dy
                        if not (0 <= i < 64 and 0 <= j < 64) or self.memory.map[i, j] not in (GRASS, SAND, PATH, WATER, LAVA):
                            break
                        fear[i, j] += 4
        for cell, until in self.guards.items():
            if until > self.step and self.memory.map[cell] == ROCK:
                fear[cell] += 15
        if self.dark():
            grass = self.memory.map == GRASS
            fear[grass] = -1 if self.closed and min(self.has["food"], self.has["drink"]) > 0 else fear[grass] + 3
        return fear

    def dark(self):
        """Whether grass is full of zombies."""
        return phase(self.info) >= DUSK or (self.step > 300 and phase(self.info) < 20)

    def anywhere(self):
        """A step, or a stroke at what is ahead, at random; never towards lava."""
        rng = np.random.default_rng(self.step)
        if self.memory.ahead in ("stone", "coal", "tree", "grass") and rng.random() < 0.4:
            return DO
        cells = {action: (self.here[0] + dx, self.here[1] + dy) for (dx, dy), action in SIDES.items()}
        safe = [a for a, (x, y) in cells.items() if 0 <= x < 64 and 0 <= y < 64 and self.memory.map[x, y] != LAVA]
        return int(rng.choice(safe)) if safe else NOOP

    def defend(self):
        """Strike what is next to the agent; step aside from arrows or put a stone before them. Never chase."""
        for enemy in self.enemies:
            if enemy.cells == 1 and enemy.kind != "arrow":
                return DO if (enemy.dx, enemy.dy) == self.memory.facing else SIDES[enemy.dx, enemy.dy]
        for enemy in self.enemies:
            if not enemy.aimed or enemy.cells > (4 if enemy.kind == "arrow" else 5):
                continue
            side = (np.sign(enemy.dx), np.sign(enemy.dy))
            if side == self.memory.facing and can(self.info, "place_stone") and (enemy.kind == "arrow" or enemy.cells > 1):
                self.guards[self.here[0] + side[0], self.here[1] + side[1]] = self.step + 25
                return STONE
            if enemy.kind == "arrow" and enemy.cells <= 2:
                aside = [d for d in SIDES if d[0] * side[0] + d[1] * side[1] == 0 and self.safe_step(d)]
                if aside:
                    return SIDES[min(aside, key=lambda d: self.fear[self.here[0] + d[0], self.here[1] + d[1]])]
        # A zombie two cells ahead in line, and a stone at hand: shut the door.
        for enemy in self.enemies:
            ahead = (enemy.dx, enemy.dy) == (2 * self.memory.facing[0], 2 * self.memory.facing[1])
            if enemy.kind == "zombie" and ahead and self.has["stone"] > 2 and can(self.info, "place_stone"):
                return STONE
        return None

    def safe_step(self, d):
        return free(self.info, (self.here[0] + d[0], self.here[1] + d[1]))

    # The night

    def sealed(self):
        """Whether nothing can come here: hardly anywhere can be walked to, whoever may stand in between, and no grass."""
        found, at = [self.here], 0
        inside = {self.here}
        while at < len(found):
            x, y = found[at]
            at += 1
            for dx, dy in SIDES:
                cell = x + dx, y + dy
                if cell in inside or not (0 <= cell[0] < 64 and 0 <= cell[1] < 64):
                    continue
                material = self.memory.map[cell]
                if material in (0, GRASS):
                    return False
                if material in (PATH, SAND):
                    # Skeletons come into being seven steps away, caves have them anyway.
                    if abs(cell[0] - self.here[0]) + abs(cell[1] - self.here[1]) > 6 or len(found) > 12:
                        return False
                    inside.add(cell)
                    found.append(cell)
        return not any((e.x, e.y) in inside for e in self.enemies)

    def night(self):
        """From dusk on, or when tired or weak: behind stone, asleep; when rested, dig on below ground while it is dark."""
        has = self.has
        tired = has["energy"] <= 2 or (has["energy"] < 6 and phase(self.info) > 140)
        self.weak = (has["health"] <= 3 or (self.weak and has["health"] < 7)) and min(has["food"], has["drink"]) > 1
        if not (self.dark() or tired or self.weak):
            self.shelter = None
            return None
        starving = min(has["food"], has["drink"]) == 0
        if starving and (has["health"] <= 5 or not self.dark()):
            return None
        if self.closed:
            if has["drink"] < 9:
                water = self.nearest("water")
                if water and water.steps <= 1:
                    return self.go_and_do(water)
            if has["energy"] < 9 or self.step < self.hit + 100:
                wall = self.wall_water()
                if wall is not None:
                    return wall
            if has["energy"] < 9:
                return SLEEP
            return NOOP if self.weak or (starving and has["health"] > 5) else None
        if not has["wood_pickaxe"]:
            return None
        if has["stone"] < 1:
            return self.collect("stone")
        return self.dig_in()

    def wall_water(self):
        """Arrows fly over water: before sleeping, put stone on water beside that is more than a single cell."""
        sides = [side for side in SIDES if self.flies(side)]
        if not sides:
            return None
        if not self.has["stone"]:
            return self.quarry()
        side = self.memory.facing if self.memory.facing in sides else sides[0]
        return STONE if side == self.memory.facing and can(self.info, "place_stone") else SIDES[side]

    def flies(self, side):
        """Whether water is beside, and an arrow could come over it."""
        cells = [(self.here[0] + k * side[0], self.here[1] + k * side[1]) for k in (1, 2, 3)]
        if any(not (0 <= x < 64 and 0 <= y < 64) for x, y in cells[:2]) or self.memory.map[cells[0]] != WATER:
            return False
        return self.memory.map[cells[1]] in (0, WATER, GRASS, PATH, SAND, LAVA)

    def quarry(self):
        """Stone from a wall that has something solid behind it."""
        for side, action in SIDES.items():
            x, y = self.here[0] + side[0], self.here[1] + side[1]
            if not (1 <= x < 63 and 1 <= y < 63) or self.memory.map[x, y] != ROCK:
                continue
            behind = [(x + dx, y + dy) for dx, dy in SIDES if (x + dx, y + dy) != self.here]
            if all(self.memory.map[cell] in (ROCK, COAL, IRON, DIAMOND, WATER, TREE) for cell in behind):
                return DO if side == self.memory.facing else action
        return None

    def dig_in(self):
        """Two cells into rock, back by one, and a stone before the door."""
        if self.shelter is None or not self.shelter_stands():
            if self.step < self.looked + 8:
                return None
            self.looked, self.shelter = self.step, self.find_shelter()
            if self.shelter is None:
                return None
        outside, door, inner = self.shelter
        if self.here == inner:
            return SIDES[door[0] - inner[0], door[1] - inner[1]]
        if self.here == door:
            look = (door[0] + self.memory.facing[0], door[1] + self.memory.facing[1])
            if look == outside:
                return STONE if can(self.info, "place_stone") else DO
            return enter(self.info, inner)
        if self.here == outside:
            return enter(self.info, door)
        return self.ways.step_towards(outside) if self.ways.steps_to(outside) is not None else None

    def shelter_stands(self):
        outside, door, inner = self.shelter
        cells = (self.memory.map[inner], self.memory.map[door])
        return all(m in (ROCK, COAL, PATH, WATER) for m in cells) and self.memory.map[outside] not in (ROCK, LAVA, WATER)

    def find_shelter(self):
        """The nearest place with two cells in line that can be dug or bridged, closed on all sides; best with water to drink beside."""
        solid = np.isin(self.memory.map, (ROCK, COAL, IRON, DIAMOND, WATER, TREE, 11, 12))
        room = np.isin(self.memory.map, (ROCK, COAL, WATER) if self.has["stone"] > 1 else (ROCK, COAL))
        wet = self.memory.map == WATER
        ground = (self.ways.cost >= 0) & (self.ways.cost < 120) & np.isin(self.memory.map, (GRASS, SAND, PATH))
        best, found = 10**6, None

        def at(field, x, y):
            """The field as seen from the cell (x, y) away; nothing beyond the edge."""
            moved = np.zeros((64, 64), bool)
            moved[max(0, -x) : 64 - max(0, x), max(0, -y) : 64 - max(0, y)] = field[max(0, x) : 64 + min(0, x), max(0, y) : 64 + min(0, y)]
            return moved

        inner = np.zeros((64, 64), bool)
        inner[1:-1, 1:-1] = True
        room, solid_inside = room & inner, solid & inner
        for dx, dy in SIDES:
            beside = [(k * dx + s * dy, k * dy + s * dx) for k in (1, 2) for s in (-1, 1)]
            fits = ground & at(room, dx, dy) & at(room, 2 * dx, 2 * dy) & at(solid_inside, 3 * dx, 3 * dy)
            for cell in beside:
                fits &= at(solid, *cell)
            if not fits.any():
                continue
            drink = np.logical_or.reduce([at(wet, *cell) for cell in (*beside, (3 * dx, 3 * dy))])
            price = self.ways.cost + 2 * at(wet, dx, dy) + 2 * at(wet, 2 * dx, 2 * dy) - 30 * drink
            price = np.where(fits, price, 10**6)
            x, y = divmod(int(price.argmin()), 64)
            if price[x, y] < best:
                best, found = price[x, y], ((x, y), (x + dx, y + dy), (x + 2 * dx, y + 2 * dy))
        return found

    # Needs

    def live(self):
        """Drink and eat before it hurts; earlier where it is near, and above all before the night."""
        evening = 115 <= phase(self.info) < DUSK
        if self.closed and (self.dark() or self.weak) and min(self.has["food"], self.has["drink"]) > 0:
            return None
        # What is at hand first, or one goes to and fro between water and cows, with a sip and a bite of each.
        for need, what, level in (("drink", "water", 7), ("food", "cow", 5)):
            spot = self.nearest(what) if self.has[need] <= level else None
            if spot and spot.steps <= (1 if need == "drink" else 3):
                action = self.go_and_do(spot)
                if action is not None:
                    return action
        for level, need in needs(self.info):
            if need == "energy":
                continue
            spot = self.nearest("water" if need == "drink" else "cow")
            if spot is None:
                action = self.explore(grass=True) if level <= (3 if self.dark() else 6 if need == "drink" else 4) else None
                if action is not None:
                    return action
                continue
            want = (7 if need == "drink" else 6) if evening and spot.steps <= 50 else 6 if spot.steps <= 6 else 5 if spot.steps <= 20 else 4
            want = 2 if self.dark() and spot.steps > 6 else want
            want = 8 if need == "drink" and spot.steps == 0 else want
            if level <= max(want, min(5, 2 + spot.steps // 15)):
                action = self.go_and_do(spot)
                if action is not None:
                    return action
        return None

    def nearest(self, what):
        """The nearest one of a material or of the cows, with the actions that it takes to stand before it."""
        if what == "cow":
            there = self.memory.creatures == COW
        else:
            there = self.memory.map == NUMBER[what]
            if what == "stone":
                for cell, until in self.guards.items():
                    if until > self.step:
                        there[cell] = False
        if not there.any():
            return None
        cells = np.flatnonzero(there)
        steps = self.before.ravel()[cells]
        best = int(steps.argmin())
        return Spot(*divmod(int(cells[best]), 64), what, int(steps[best])) if steps[best] < FAR else None

    def go_and_do(self, spot):
        if self.tabu.get(spot.cell, 0) > self.step:
            return None
        action = self.ways.step_towards(spot.cell)
        if action is not None:
            return action
        ahead = (self.here[0] + self.memory.facing[0], self.here[1] + self.memory.facing[1])
        if ahead == spot.cell:
            return DO
        self.tabu[spot.cell] = self.step + 50
        return None

    # The way to the diamond

    def progress(self):
        has = self.has
        if not has["wood_pickaxe"] or not has["wood_sword"]:
            return self.tools("wood_pickaxe", "wood_sword", wood=4)
        if not has["stone_pickaxe"] or not has["stone_sword"]:
            # Wood for stone tools, another table, and an iron pickaxe, all at once: trees are far from ore.
            self.wooded = (self.wooded or has["wood"] >= 7) and has["wood"] >= 2
            if not self.wooded:
                return self.collect("tree")
            if has["stone"] < 3:
                return self.collect("stone")
            return self.tools("stone_pickaxe", "stone_sword")
        if not has["iron_pickaxe"]:
            return self.iron("iron_pickaxe")
        if not has["iron_sword"] and self.worth_a_sword():
            action = self.iron("iron_sword")
            if action is not None:
                return action
        spot = self.nearest("diamond")
        if spot:
            action = self.go_and_do(spot)
            if action is not None:
                return action
        return self.stock() or self.explore()

    def stock(self):
        """A few stones for doors and bridges."""
        return self.collect("stone") if self.has["stone"] < 4 else None

    def worth_a_sword(self):
        if self.has["wood"] < 1 or not (self.table_near(15)):
            return False
        iron = self.nearest("iron")
        return bool(self.has["iron"] or (iron and iron.steps < 15)) and bool(self.has["coal"] or self.nearest("coal"))

    def table_near(self, steps):
        spot = self.nearest("table")
        return spot is not None and spot.steps <= steps

    def tools(self, *names, wood=0):
        """Make tools at a table, at a new one where none is near."""
        for name in names:
            if not self.has[name]:
                if can(self.info, f"make_{name}"):
                    return MAKE[name]
                if "table" not in missing(self.info, f"make_{name}"):
                    return self.collect("tree")
        table = self.nearest("table")
        fresh = self.has["wood"] >= max(wood, 4)
        if table and (table.steps <= 12 or not fresh):
            if self.has["wood"] < len([n for n in names if not self.has[n]]):
                return self.collect("tree")
            return self.come_near(table)
        return self.place("table", TABLE) if fresh else self.collect("tree")

    def iron(self, tool):
        """Wood, coal and iron, then table and furnace side by side."""
        has = self.has
        if can(self.info, f"make_{tool}"):
            return MAKE[tool]
        both = self.workshop()
        if has["wood"] < (1 if both else 3):
            return self.collect("tree")
        if has["coal"] < 1:
            return self.collect("coal")
        if has["iron"] < 1:
            return self.collect("iron")
        if both is not None:
            return self.come_near(both)
        if has["stone"] < 5:
            return self.collect("stone")
        if near(self.info, "table"):
            return self.place("furnace", FURNACE)
        table = self.nearest("table")
        if table and table.steps <= 8:
            return self.come_near(table)
        return self.place("table", TABLE)

    def workshop(self):
        """A known furnace with a table beside it, as a spot to go to."""
        for x, y in positions(self.info, "furnace"):
            if (self.memory.map[max(0, x - 2) : x + 3, max(0, y - 2) : y + 3] == 11).any():
                spot = self.nearest("furnace")
                if spot and spot.steps < 40:
                    return spot
        return None

    def come_near(self, spot):
        action = self.ways.step_towards(spot.cell)
        if action is not None:
            return action
        return self.wander()

    def place(self, what, action):
        """Place it ahead; where that does not suit, dig what is ahead or step on."""
        if can(self.info, f"place_{what}"):
            return action
        if missing(self.info, f"place_{what}"):
            return self.collect("tree" if what == "table" else "stone")
        ahead = self.memory.ahead
        if ahead in ("stone", "coal", "iron", "tree") and (ahead == "tree" or collectable(self.info, ahead)):
            return DO
        return self.wander()

    def wander(self):
        """A step or turn to anywhere that is not where the agent looks."""
        for side, action in SIDES.items():
            cell = (self.here[0] + side[0], self.here[1] + side[1])
            if side != self.memory.facing and 0 <= cell[0] < 64 and 0 <= cell[1] < 64 and self.memory.map[cell] != LAVA:
                return action
        return None

    def collect(self, what):
        """Go to the nearest one that is known, else look for one."""
        if not collectable(self.info, what):
            return None
        spot = self.nearest(what)
        if spot and self.tabu.get(spot.cell, 0) <= self.step:
            action = self.go_and_do(spot)
            if action is not None:
                return action
        return self.explore(grass=what == "tree")

    def explore(self, grass=False):
        """Towards land never seen: for ore through the mountain, for trees, water and cows over grass."""
        known = self.memory.map > 0
        edge = np.zeros((64, 64), bool)
        edge[1:] |= ~known[:-1]
        edge[:-1] |= ~known[1:]
        edge[:, 1:] |= ~known[:, :-1]
        edge[:, :-1] |= ~known[:, 1:]
        edge &= self.ways.cost >= 0
        if self.goal is not None and edge[self.goal]:
            action = self.onto(self.goal)
            if action is not None:
                return action
        price = self.ways.cost.astype(np.int64)
        if grass:
            price = price + 12 * np.isin(self.memory.map, MOUNTAIN)
        elif self.has["wood_pickaxe"]:
            price = price + 20 * ~np.isin(self.memory.map, MOUNTAIN)
        price[~edge] = 10**6
        for cell, until in self.tabu.items():
            if until > self.step:
                price[cell] = 10**6
        best = int(price.argmin())
        cell = divmod(best, 64)
        if price[cell] >= 10**6:
            return self.wander()
        self.goal = cell
        action = self.onto(cell)
        if action is None:
            self.tabu[cell] = self.step + 100
            self.goal = None
            return self.wander()
        return action

    def onto(self, cell):
        """The next action on the way onto a cell, rock too."""
        action = self.ways.step_towards(cell)
        beside = abs(cell[0] - self.here[0]) + abs(cell[1] - self.here[1]) == 1
        return enter(self.info, cell) if action is None and beside and self.memory.map[cell] != LAVA else action
