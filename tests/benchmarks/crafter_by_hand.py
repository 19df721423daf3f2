"""A hand-written controller for Crafter's diamond: the bar that plans, models and learning are measured against. No model wrote it.

One skill, `by_hand`, on the toolkit alone; it decides anew in every step, so that it needs no interrupts. What it does and why is told at
each part. `bench_crafter_by_hand.py` measures it.
"""

import numpy as np

from rlgpt.envs.crafter.toolkit import (
    can,
    closed,
    collectable,
    dangers,
    enter,
    free,
    missing,
    near,
    needs,
    positions,
    seen,
    threats,
    ways,
)

NOOP, LEFT, RIGHT, UP, DOWN, DO, SLEEP, STONE, TABLE, FURNACE, PLANT = range(11)
MAKE = {"wood_pickaxe": 11, "stone_pickaxe": 12, "iron_pickaxe": 13, "wood_sword": 14, "stone_sword": 15, "iron_sword": 16}
SIDES = {(-1, 0): LEFT, (1, 0): RIGHT, (0, -1): UP, (0, 1): DOWN}
WATER, GRASS, ROCK, PATH, SAND, TREE, LAVA, COAL, IRON, DIAMOND = range(1, 11)
DUSK = 150


def by_hand(obs, info):
    """Play a whole episode."""
    mind = Mind()
    while True:
        _, info = yield mind.decide(info)


class Mind:
    """What the controller keeps in mind from step to step."""

    def __init__(self):
        self.guards = {}  # stones put before arrows -> step until which they stay
        self.goal, self.kind = None, None  # cell that is explored towards, and what for
        self.shut = np.full((64, 64), -1, np.int32)  # as tabu: not to be dug by night
        self.last = {}  # what is collected -> the cell it was meant to come from
        self.mode = ""  # what the last action was for, for whoever looks on
        self.shelter = None  # (outside, inner wall, back wall)
        self.tabu = np.full((64, 64), -1, np.int32)  # step until which a cell is no goal: it was tried in vain
        self.belongings, self.trail, self.stuck = None, [], 0
        self.wooded = self.weak = False
        self.hit = -100  # step of the last hit behind closed doors
        self.looked = -100  # step of the last search for a shelter

    def decide(self, info):
        """The next action: danger first, then the night, needs, and the way to the diamond."""
        self.info, self.memory = info, seen(info)
        self.here, self.has, self.step = self.memory.position, info["inventory"], info["step"]
        self.phase = self.step % 300
        self.dark = self.phase >= DUSK or (self.step > 300 and self.phase < 20)
        if info["damage"] >= 2:
            self.hit = self.step  # asleep, one learns of it a step before one wakes
        if info["sleeping"]:
            return NOOP
        self.enemies = threats(info)
        self.closed = closed(info)
        self.fear = self.fears()
        self.ways = ways(info, danger=self.fear)
        now = self.memory.items[4:].tolist()
        if now != self.belongings or self.here not in self.trail:
            self.belongings, self.stuck = now, 0
        self.stuck += 1
        self.trail = [*self.trail[-5:], self.here]
        # Turning to and fro in the same few cells by day: whatever it is, it does not work here.
        if self.stuck > 25 and not (self.dark and self.closed) and not self.weak:
            self.goal, self.shelter = None, None
            if self.stuck > 31:
                self.stuck = 0
            return self.anywhere()
        for part in (self.defend, self.night, self.live, self.progress):
            self.mode = part.__name__
            action = part()
            if action is not None:
                return action
        return NOOP

    # Danger

    def fears(self):
        """Cells to keep off: around zombies, and in line with skeletons."""
        fear = dangers(self.info)
        for cell, until in self.guards.items():
            if until > self.step and self.memory.map[cell] == ROCK:
                fear[cell] += 15
        if self.dark:
            grass = self.memory.map == GRASS
            sated = min(self.has["food"], self.has["drink"]) > 0
            if sated and (self.closed or self.below()):
                for dx, dy in ((0, 0), *SIDES):
                    beside = np.roll(grass, (dx, dy), (0, 1))
                    fear[beside] = -1
                    # What is dug there opens a way for zombies.
                    self.shut[beside & (self.memory.map != WATER)] = self.step + 1
            else:
                fear[grass] += 3
        return fear

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
            if enemy.aimed and enemy.cells <= 5:
                action = self.shield(enemy)
                if action is not None:
                    return action
        # A zombie two cells ahead in line, and a stone at hand: shut the door.
        for enemy in self.enemies:
            ahead = (enemy.dx, enemy.dy) == (2 * self.memory.facing[0], 2 * self.memory.facing[1])
            if enemy.kind == "zombie" and ahead and self.has["stone"] > 2 and can(self.info, "place_stone"):
                return STONE
        return None

    def shield(self, enemy):
        """A stone between the agent and what shoots at it, or a step aside."""
        side = (int(np.sign(enemy.dx)), int(np.sign(enemy.dy)))
        cell = self.here[0] + side[0], self.here[1] + side[1]
        if side == self.memory.facing and can(self.info, "place_stone") and (enemy.kind == "arrow" or enemy.cells > 1):
            self.guards[cell] = self.tabu[cell] = self.step + 25
            return STONE
        wet = self.memory.map[cell] == WATER
        if wet and self.has["stone"] and side != self.memory.facing:
            return SIDES[side]
        if enemy.kind == "arrow" and enemy.cells > 3 and not wet:
            return None
        aside = [d for d in SIDES if d[0] * side[0] + d[1] * side[1] == 0 and self.safe_step(d)]
        if aside and (enemy.kind == "arrow" or self.closed or wet):
            return SIDES[min(aside, key=lambda d: self.fear[self.here[0] + d[0], self.here[1] + d[1]])]
        if self.has["stone"] and self.safe_step(side) and enemy.cells > 2:
            return SIDES[side]  # turns, at the price of a step towards it; then the stone
        if enemy.kind == "skeleton" and enemy.cells == 2 and self.safe_step(side):
            return SIDES[side]
        return self.alcove(side) if not aside else None

    def alcove(self, side):
        """Out of the line of fire, into rock beside."""
        for d in ((side[1], side[0]), (-side[1], -side[0])):
            cell = self.here[0] + d[0], self.here[1] + d[1]
            if collectable(self.info, "stone") and self.memory.map[cell] == ROCK and self.backed(cell):
                return enter(self.info, cell)
        return None

    def backed(self, cell):
        """Whether the other neighbours of a cell are solid, so that to dig it opens nothing."""
        around = [(cell[0] + dx, cell[1] + dy) for dx, dy in SIDES if (cell[0] + dx, cell[1] + dy) != self.here]
        inside = all(0 <= x < 64 and 0 <= y < 64 for x, y in around)
        return inside and all(self.memory.map[n] in (ROCK, COAL, IRON, DIAMOND, WATER, TREE) for n in around)

    def safe_step(self, d):
        return free(self.info, (self.here[0] + d[0], self.here[1] + d[1]))

    # The night

    def night(self):
        """From dusk on, or when tired or weak: behind stone, asleep; when rested, dig on below ground while it is dark."""
        has = self.has
        tired = has["energy"] <= 2 or (has["energy"] < 6 and self.phase > 140)
        self.weak = (has["health"] <= 3 or (self.weak and has["health"] < 7)) and min(has["food"], has["drink"]) > 1
        if not (self.dark or tired or self.weak):
            self.shelter = None
            return None
        starving = min(has["food"], has["drink"]) == 0
        if starving and (has["health"] <= 5 or not self.dark):
            return None
        if self.closed:
            return self.rest(starving)
        if not has["wood_pickaxe"]:
            return None
        for need, what, level, reach in (("drink", "water", 6, 4), ("food", "cow", 5, 4)):
            spot = self.nearest(what) if has[need] <= level and not self.weak else None
            if spot and spot.steps <= reach:
                return self.go_and_do(spot)
        if has["energy"] >= 7 and not self.weak and self.below():
            return None
        if has["stone"] < 1 + (self.shelter is None) and self.here not in (self.shelter or ())[1:]:
            return self.collect("stone")
        return self.dig_in()

    def rest(self, starving):
        """Behind closed doors."""
        has = self.has
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
        if self.weak or (starving and has["health"] > 5):
            return NOOP
        return None

    def below(self):
        """Whether the agent is in the mountain, and no grass can be walked to within eight steps."""
        steps = self.memory.distance[self.memory.map == GRASS]
        return self.memory.map[self.here] == PATH and not ((steps >= 0) & (steps <= 8)).any()

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
            cell = self.here[0] + side[0], self.here[1] + side[1]
            if 0 <= cell[0] < 64 and 0 <= cell[1] < 64 and self.memory.map[cell] == ROCK and self.backed(cell):
                return DO if side == self.memory.facing else action
        return None

    def dig_in(self):
        """Two cells into rock, back by one, and a stone before the door."""
        if self.shelter is None or not self.shelter_stands():
            if self.step < self.looked + 8:
                return None
            self.looked, self.shelter = self.step, self.ways.shelter(self.has["stone"] > 1)
            if self.shelter is None:
                return None
        outside, door, inner = self.shelter
        if self.here == inner:
            return SIDES[door[0] - inner[0], door[1] - inner[1]]
        if self.here == door:
            look = (door[0] + self.memory.facing[0], door[1] + self.memory.facing[1])
            if look == outside:
                if can(self.info, "place_stone"):
                    return STONE
                return DO if self.has["stone"] else self.quarry() or self.collect("stone")
            return enter(self.info, inner)
        if self.here == outside:
            return enter(self.info, door)
        return self.ways.step_towards(outside) if self.ways.steps_to(outside) is not None else None

    def shelter_stands(self):
        outside, door, inner = self.shelter
        dx, dy = inner[0] - door[0], inner[1] - door[1]
        rooms = (self.memory.map[inner], self.memory.map[door])
        walls = [(x + s * dy, y + s * dx) for x, y in (door, inner) for s in (-1, 1)] + [(inner[0] + dx, inner[1] + dy)]
        solid = all(self.memory.map[cell] not in (0, GRASS, SAND, PATH, LAVA) for cell in walls)
        return solid and all(m in (ROCK, COAL, PATH, WATER, SAND) for m in rooms) and self.memory.map[outside] not in (LAVA, WATER)

    # Needs

    def live(self):
        """Drink and eat before it hurts; earlier where it is near, and above all before the night."""
        has = self.has
        if self.closed and (self.dark or self.weak) and min(has["food"], has["drink"]) > 0:
            return None
        # What is at hand first, or one goes to and fro between water and cows, with a sip and a bite of each.
        for need, what, reach in (("drink", "water", (0, 0, 1, 2, 4, 8)), ("food", "cow", (0, 0, 0, 3, 6, 8))):
            lacks = min(9 - has[need], 5)
            spot = self.nearest(what) if lacks > 0 else None
            if spot and spot.steps <= reach[lacks] and (need == "drink" or lacks >= 3):
                action = self.go_and_do(spot)
                if action is not None:
                    return action
        evening = 95 <= self.phase < DUSK
        for level, need in needs(self.info):
            if need == "energy":
                continue
            what = "water" if need == "drink" else "cow"
            spot = self.nearest(what)
            if self.dark and level > 1 and not (spot and spot.steps <= 6):
                continue
            if spot is None:
                if level <= (6 if need == "drink" or 80 <= self.phase < 135 else 5):
                    action = self.search(what)
                    if action is not None:
                        return action
                continue
            want = (4 if spot.steps <= 20 else 3 + spot.steps // 25) if need == "drink" else 5 if spot.steps < 60 else 6
            if evening and spot.steps <= 45:
                want = 7 if need == "drink" else 6
            if level <= want:
                action = self.go_and_do(spot)
                if action is not None:
                    return action
        return None

    def search(self, what):
        """Look for water or cows."""
        if what == "water":
            return self.explore(grass=True)
        goal = self.goal if self.kind == "cow" and self.goal != self.here else None
        if goal is not None and self.tabu[goal] <= self.step and self.ways.cost[goal] >= 0 and self.worth(goal) >= 10:
            action = self.onto(goal)
            if action is not None:
                self.mode += f" pasture {goal}"
                return action
        spot = self.ways.pasture(300, self.tabu)
        if spot is None:
            return self.explore(grass=True)
        self.goal, self.kind = spot.cell, "cow"
        self.mode += f" pasture {self.goal}"
        action = self.onto(spot.cell)
        if action is None:
            self.tabu[spot.cell] = self.step + 50
        return action

    def worth(self, cell):
        """How much grass long unseen, and land never seen, comes into view there."""
        x, y = cell
        window = np.s_[max(0, x - 4) : x + 5, max(0, y - 3) : y + 4]
        ground = self.memory.map[window]
        return int(2 * (ground == 0).sum() + 0.3 * ((ground == GRASS) & (self.step - self.memory.when[window] > 300)).sum())

    def nearest(self, what):
        """The nearest one that is worth a try, with the actions that it takes to stand before it; that of before if hardly further."""
        spot = self.ways.nearest(what, 600 if what == "cow" else None, np.maximum(self.tabu, self.shut))
        if spot is None or what == "cow":
            return spot
        before = self.last.get(what)
        if before is not None and before.cell != spot.cell and self.memory.map[before.cell] == self.memory.map[spot.cell]:
            steps = self.ways.steps_to(before.cell)
            if steps is not None and steps <= spot.steps + 4 and max(self.tabu[before.cell], self.shut[before.cell]) <= self.step:
                return type(spot)(*before.cell, what, steps)
        return spot

    def go_and_do(self, spot):
        self.mode += f" {spot.what}@{spot.x},{spot.y}"
        self.last[spot.what] = spot
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
        if self.has["stone"] >= 4:
            return None
        return self.quarry() if self.closed and self.dark else self.collect("stone")

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
        for side, move in SIDES.items():
            cell = self.here[0] + side[0], self.here[1] + side[1]
            if 0 <= cell[0] < 64 and 0 <= cell[1] < 64 and self.memory.map[cell] in (ROCK, COAL, TREE) and collectable(self.info, "stone"):
                return DO if side == self.memory.facing else move
        for side, move in SIDES.items():
            x, y = self.here[0] + side[0], self.here[1] + side[1]
            beyond = x + side[0], y + side[1]
            table = what == "table" or (self.memory.map[max(0, x - 1) : x + 2, max(0, y - 1) : y + 2] == 11).any()
            if table and free(self.info, (x, y)) and free(self.info, beyond):
                return move
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
        if spot:
            action = self.go_and_do(spot)
            if action is not None:
                return action
        return self.explore(grass=what == "tree")

    def explore(self, grass=False):
        """Towards land never seen: for ore through the mountain, for trees, water and cows over grass."""
        kind = "grass" if grass else "ore"
        goal = self.goal if self.kind == kind else None
        if goal is not None and self.tabu[goal] <= self.step and self.ways.cost[goal] >= 0 and self.edge(goal):
            action = self.onto(goal)
            if action is not None:
                self.mode += f" explore {goal}"
                return action
        spot = self.ways.frontier(mountain=12 * grass, grass=0 if grass or not self.has["wood_pickaxe"] else 20, tabu=self.tabu)
        if spot is None:
            return NOOP if self.dark and self.closed else self.wander()
        self.goal, self.kind = spot.cell, kind
        self.mode += f" explore {spot.cell}"
        action = self.onto(spot.cell)
        if action is None:
            self.tabu[spot.cell] = self.step + 100
            self.goal = None
            return self.wander()
        return action

    def edge(self, cell):
        x, y = cell
        return (self.memory.map[max(0, x - 1) : x + 2, y] == 0).any() or (self.memory.map[x, max(0, y - 1) : y + 2] == 0).any()

    def onto(self, cell):
        """The next action on the way onto a cell, rock too."""
        action = self.ways.step_towards(cell)
        beside = abs(cell[0] - self.here[0]) + abs(cell[1] - self.here[1]) == 1
        return enter(self.info, cell) if action is None and beside and self.memory.map[cell] != LAVA else action
