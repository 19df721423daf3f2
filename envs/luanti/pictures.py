"""Textured pictures from what every pixel's ray met, with the textures of the installed game. Nothing of them is part of this package.

The textures are mostly CC BY-SA 3.0 (each mod's README names their authors): published pictures have to say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlgpt.envs.luanti import wire
from rlgpt.envs.luanti.program import find

TEXELS = 16  # a texture's side
EYE = 1.47
SPREAD = 0.7265  # tangent of half the view's 72 degrees, as in mod/picture.lua
SKY = (150, 190, 235)
# Of the faces that a ray comes in through (0 none, then -x, +x, -y, +y, -z, +z): which of a node's six tiles, and how bright it is.
_TILE = (0, 3, 2, 1, 0, 5, 4)
_LIGHT = (1.0, 0.8, 0.8, 0.55, 1.0, 0.65, 0.65)
_UNDER = {"grass": (110, 80, 50), "snow": (110, 80, 50)}


class Painter:
    """Paints pictures of one server's nodes."""

    def __init__(self, nodes: list[list[Any]]) -> None:
        """`nodes`: the mod's [name, walkable, liquid, tiles]."""
        files = {file.name: file for file in find().game.glob("mods/*/textures/*.png")}
        known: dict[str, npt.NDArray[np.uint8]] = {}
        self._textures = np.full((len(nodes), 6, TEXELS, TEXELS, 3), 128, np.uint8)
        for number, (*_, tiles) in enumerate(nodes):
            for side, tile in enumerate(tiles):
                layers = [layer for layer in str(tile).split("^") if layer in files]
                if layers:
                    key = layers[-1] if "side" in layers[-1] else layers[0]
                    if key not in known:
                        known[key] = _texture(files[key])
                    self._textures[number, side] = known[key]
        # By number, face, row and column, with the face's light in it; face 0 is the sky.
        lit = np.stack([(self._textures[:, tile] * light).astype(np.uint8) for tile, light in zip(_TILE, _LIGHT, strict=True)], axis=1)
        lit[:, 0] = SKY
        self._lit = np.ascontiguousarray(lit).reshape(-1, 3)
        steps = ((np.arange(wire.SIZE, dtype=np.float32) + 0.5) / wire.SIZE * 2 - 1) * SPREAD
        self._right, self._up = np.meshgrid(steps, -steps)
        self._scale = 1 / np.sqrt(1 + self._right**2 + self._up**2)
        self._fog = ((np.arange(0, 6554) / 3200.0).clip(0, 1) ** 2 * 256).astype(np.uint16)

    def paint(self, me: Any, seen: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The view, [64, 64, 3]; `me` is `self` of the answer, `seen` a record of `wire.PICTURE`."""
        number, depth, face = seen["id"][0], seen["depth"][0], seen["face"][0]
        (x, y, z), pitch, yaw = me[6:9], np.radians(me[9]), np.radians(me[10])
        s, c, sp, cp = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)
        far = depth * (self._scale * np.float32(0.01))
        # Where the ray met the block, in the coordinates of skills (z to the south); the faces are in those of the engine.
        px = x + far * (-s * cp - c * self._right - s * sp * self._up)
        py = y + EYE + far * (-sp + cp * self._up)
        pz = z + far * (c * cp - s * self._right + c * sp * self._up)
        along = np.where(face <= 2, pz, px)
        down = np.where((face == 3) | (face == 4), pz, -py)
        column = (along * TEXELS).astype(np.int32) & (TEXELS - 1)
        row = np.floor(down * TEXELS).astype(np.int32) & (TEXELS - 1)
        index = ((number.astype(np.int32) * len(_TILE) + face) * TEXELS + row) * TEXELS + column
        rgb = self._lit[index].astype(np.uint16)
        fog = self._fog[np.minimum(depth, 6553)][..., None]
        mixed: npt.NDArray[np.uint8] = ((rgb * (256 - fog) + np.array(SKY, np.uint16) * fog) >> 8).astype(np.uint8)
        return mixed


def _texture(file: Path) -> npt.NDArray[np.uint8]:
    """[16, 16, 3]; animated ones by their first picture, clear parts over earth or leaves' own green."""
    from PIL import Image

    with Image.open(file) as image:
        square = image.convert("RGBA").crop((0, 0, image.width, image.width)).resize((TEXELS, TEXELS), Image.Resampling.NEAREST)
    pixels = np.asarray(square).astype(np.float32)
    alpha = pixels[..., 3:] / 255
    under = next((colour for word, colour in _UNDER.items() if word in file.name), (60, 110, 50))
    blended: npt.NDArray[np.uint8] = (pixels[..., :3] * alpha + np.array(under, np.float32) * (1 - alpha)).astype(np.uint8)
    return blended
