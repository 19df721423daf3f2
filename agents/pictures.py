"""Pictures of trials, for critics that can see: read from the run's folder, and checked to be those that were drawn."""

from __future__ import annotations

import hashlib

from rlgpt.bus.messages import SkillTried
from rlgpt.bus.parts import Picture
from rlgpt.envs.png import MAGIC

LARGEST = 1 << 20
"""Bytes of a picture that are read; the largest of ours has half of that."""


class PictureUnreadable(Exception):
    """A picture that a message names cannot be shown to a model; the text says why."""


def shown(trial: SkillTried) -> tuple[list[Picture], list[bytes]]:
    """The pictures of a trial and their files. Raises PictureUnreadable."""
    return list(trial.pictures), [read(picture) for picture in trial.pictures]


def read(picture: Picture) -> bytes:
    """The PNG file of a picture, if it is the one that was drawn. Raises PictureUnreadable."""
    import fsspec  # here, since it takes a moment, and few runs have pictures

    uri = picture.file.uri
    try:
        with fsspec.open(uri, "rb") as file:
            data: bytes = file.read(LARGEST + 1)
    except Exception as error:  # every protocol of fsspec has errors of its own
        raise PictureUnreadable(f"{uri} cannot be read: {type(error).__name__}: {error}") from None
    if len(data) > LARGEST or not data.startswith(MAGIC) or hashlib.sha256(data).hexdigest() != picture.file.sha256:
        raise PictureUnreadable(f"{uri} is not the picture that was drawn")
    return data
