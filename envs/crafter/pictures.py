"""Crafter's pictures of a WORLD record, pixel for pixel, with its own textures. Read once: behind the lock no file can be opened."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from crafter import constants, engine

from rlgpt.envs.crafter.rules import (
    AREA,
    ARROW,
    COW,
    DIRECTION_NAMES,
    DIRECTIONS,
    ITEMS,
    MATERIALS,
    PLANT,
    PLAYER,
    SKELETON,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    ZOMBIE,
)

Picture = npt.NDArray[np.uint8]
ROWS = 9  # seven of the view, two of the inventory
RIPE = 300
OUTSIDE = 127
_PLAIN = {COW: "cow", ZOMBIE: "zombie", SKELETON: "skeleton"}


@functools.cache
def _textures() -> engine.Textures:
    return engine.Textures(constants.root / "assets")


class Painter:
    """Paints the present state of `world` as [size, size, 3] bytes."""

    def __init__(self, world: npt.NDArray[Any], size: int) -> None:
        if size < 3 * VIEW_WIDTH:
            raise ValueError(f"a picture of Crafter has at least {3 * VIEW_WIDTH} pixels a side, not {size}")
        self._world, self.size, self._unit = world, size, size // VIEW_WIDTH
        self._scene = SimpleNamespace(area=(AREA, AREA), random=np.random.RandomState(0), daylight=1.0)
        self._local = engine.LocalView(self._scene, _textures(), [VIEW_WIDTH, VIEW_HEIGHT])
        self._items = engine.ItemView(_textures(), [VIEW_WIDTH, ROWS - VIEW_HEIGHT])
        self._inventory_pictures: dict[tuple[int, ...], Picture] = {}
        self._tiles: dict[tuple[int, str], Picture] = {}
        unit = (self._unit, self._unit)
        ground = [_textures().get(name, unit)[..., :3] for name in MATERIALS]
        self._ground = np.stack([np.full_like(ground[0], OUTSIDE), *ground])

    def paint(self) -> Picture:
        """[size, size, 3], rows first."""
        view = np.concatenate([self._landscape(), self._inventory()], 1)
        canvas = np.zeros((self.size, self.size, 3), np.uint8)
        border = (self.size - self._unit * ROWS) // 2
        canvas[border : border + view.shape[0], border : border + view.shape[1]] = view
        return canvas.transpose((1, 0, 2))

    def _landscape(self) -> Any:
        w, unit = self._world[0], self._unit
        left, top = int(w["x"][0]) - VIEW_WIDTH // 2, int(w["y"][0]) - VIEW_HEIGHT // 2
        view = np.zeros((VIEW_WIDTH, VIEW_HEIGHT), np.intp)
        xs, ys = slice(max(0, left), min(AREA, left + VIEW_WIDTH)), slice(max(0, top), min(AREA, top + VIEW_HEIGHT))
        view[xs.start - left : xs.stop - left, ys.start - top : ys.stop - top] = w["material"][xs, ys]
        canvas = self._ground[view].transpose(0, 2, 1, 3, 4).reshape(VIEW_WIDTH * unit, VIEW_HEIGHT * unit, 3)
        for x, y in np.argwhere(w["object"][xs, ys]).tolist():
            x, y = x + xs.start, y + ys.start  # noqa: PLW2901
            tile = self._tile(int(w["material"][x, y]), self._texture(w, int(w["object"][x, y]) - 1))
            i, j = (x - left) * unit, (y - top) * unit
            canvas[i : i + unit, j : j + unit] = tile
        if w["daylight"] < 0.5:
            self._scene.random.set_state(("MT19937", w["key"], int(w["drawn"])))
        canvas = self._local._light(canvas, float(w["daylight"]))
        return self._local._sleep(canvas) if w["sleeping"] else canvas

    def _tile(self, material: int, texture: str) -> Picture:
        """A creature on a ground; they are few, so that all are kept."""
        key = material, texture
        if key not in self._tiles:
            tile = self._ground[material].copy()
            engine._draw_alpha(tile, np.zeros(2, int), _textures().get(texture, (self._unit, self._unit)))
            self._tiles[key] = tile
        return self._tiles[key]

    def _texture(self, w: Any, i: int) -> str:
        kind = int(w["kind"][i])
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind == PLANT:
            return "plant-ripe" if w["timer"][i] > RIPE else "plant"
        if kind == PLAYER and w["sleeping"]:
            return "player-sleep"
        assert kind in (PLAYER, ARROW), f"object of unknown kind {kind}"
        side = DIRECTION_NAMES[DIRECTIONS.index((int(w["dx"][i]), int(w["dy"][i])))]
        return f"{'player' if kind == PLAYER else 'arrow'}-{side}"

    def _inventory(self) -> Picture:
        counts = tuple(self._world["inventory"][0].tolist())
        if counts not in self._inventory_pictures:
            if len(self._inventory_pictures) > 1000:
                self._inventory_pictures.clear()
            picture: Picture = self._items(dict(zip(ITEMS, counts, strict=True)), (self._unit, self._unit))
            self._inventory_pictures[counts] = picture
        return self._inventory_pictures[counts]
