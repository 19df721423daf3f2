"""Drawing a trial for critics that can see: a few frames of the episode that tells most, as files of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from rlgpt.bus.messages import SkillDrafted
from rlgpt.bus.parts import Artifact, Picture, TrialEpisode
from rlgpt.envs.camera import Camera, CannotDraw
from rlgpt.envs.files import write_whole
from rlgpt.envs.png import MEDIA_TYPE

FOLDER = "pictures"


def draw(
    draft: SkillDrafted, episodes: Sequence[TrialEpisode], taken: Mapping[int, npt.NDArray[Any]], most: int, folder: Path
) -> tuple[Picture, ...]:
    """At most `most` pictures of the first episode that failed, or else of the first.

    taken   actions by seed; folder: the run's
    Raises CannotDraw.
    """
    told = sorted((episode for episode in episodes if episode.seed in taken), key=lambda episode: episode.success)
    if not told:
        raise CannotDraw("no episode of the trial came to its end")
    seed = told[0].seed
    with Camera(draft.environment) as camera:
        frames = camera.film(seed, taken[seed], most)
    name = f"plan-{draft.plan}-{draft.skill.name}-attempt-{draft.attempt}"
    try:
        files = [_keep(folder / FOLDER / f"{name}-step-{frame.step}.png", frame.file) for frame in frames]
    except OSError as error:
        raise CannotDraw(f"the pictures cannot be written to {folder / FOLDER}: {error.strerror or error}") from None
    return tuple(Picture(seed=seed, step=frame.step, file=file) for frame, file in zip(frames, files, strict=True))


def _keep(path: Path, data: bytes) -> Artifact:
    write_whole(path, data)
    return Artifact(uri=path.resolve().as_uri(), sha256=hashlib.sha256(data).hexdigest(), media_type=MEDIA_TYPE)
