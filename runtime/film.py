"""Films: an episode of a run's policy, drawn in a clean worker from its seed and actions, with what was running under each frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from rlgpt.agents.learning.again import player_of
from rlgpt.agents.learning.evaluation import Played, Player
from rlgpt.agents.learning.learner import play_and_verify, play_once
from rlgpt.agents.learning.practice import evaluated_in
from rlgpt.bus.errors import Explained
from rlgpt.bus.messages import TrainingRequested
from rlgpt.envs.camera import Camera, Frame, chosen_steps
from rlgpt.envs.pool import WorkerPool
from rlgpt.runtime.text import printable, short

LEAST = 320  # pixels; smaller frames are enlarged by whole factors
LINE = 18
COLOURS = ((24, 28, 32), (230, 233, 236), (127, 176, 255))
ALL = 1_000_000_000  # decisions kept of an episode: every one


class CannotFilm(Explained):
    """There is no film of this; the text says why."""


@dataclass(frozen=True)
class Episode:
    """A played episode with what was chosen: `choices` are (environment step it began at, name), ascending.

    frames  as it was played, where it cannot be repeated to be drawn; None: not filmed
    """

    played: Played
    choices: tuple[tuple[int, str], ...]
    frames: tuple[Frame, ...] | None = None

    @property
    def title(self) -> str:
        return f"seed_{self.played.seed}_{'success' if self.played.success else 'failure'}"

    def running(self, step: int) -> str:
        """What was running when environment step `step` was taken, with the first state as step 0."""
        at = bisect_right([begun for begun, _ in self.choices], max(step - 1, 0)) - 1
        return self.choices[at][1] if at >= 0 else ""


def play(request: TrainingRequested, weights: dict[str, Any] | None, most: int = 300) -> list[Episode]:
    """The episodes of the request's evaluation, played by this policy, or by its controller where `weights` is None.

    Where no episode can be repeated, the first success and the first failure are filmed as they are played, with at most `most` frames.
    Raises as `again`, and CannotDraw.
    """
    player, names, _ = player_of(request, weights)
    filmed: dict[int, tuple[Frame, ...]] = {}
    if evaluated_in(request).deterministic:
        played, _ = play_and_verify(request, player, lambda: True, traced=ALL)
    else:
        played, filmed = _live(request, player, most)
    return [Episode(one, tuple((passage.at, names[passage.which]) for passage in one.trace), filmed.get(one.seed)) for one in played]


def _live(request: TrainingRequested, player: Player, most: int) -> tuple[list[Played], dict[int, tuple[Frame, ...]]]:
    filmed: dict[int, tuple[Frame, ...]] = {}
    outcomes = set[bool]()

    def keep(pool: WorkerPool, environment: int, episode: Played) -> None:
        if episode.success not in outcomes and not episode.unreached:
            outcomes.add(episode.success)
            filmed[episode.seed] = tuple(pool.frames(environment))

    return play_once(request, player, lambda: True, traced=ALL, film=most, ended=keep), filmed


def picked(episodes: Sequence[Episode]) -> list[Episode]:
    """One success and one failure, the first of each."""
    found = (next((one for one in episodes if one.played.success is success), None) for success in (True, False))
    return [one for one in found if one is not None]


def camera_for(request: TrainingRequested) -> AbstractContextManager[Camera | None]:
    """A camera in the environment that the request's evaluation plays in; None where nothing can be repeated. Raises CannotDraw."""
    environment = evaluated_in(request)
    return Camera(environment) if environment.deterministic else nullcontext()


def shoot(episode: Episode, most: int, camera: Camera | None) -> list[Image.Image]:
    """At most `most` frames of the episode, evenly chosen, with two lines of text below. Raises CannotFilm, CannotDraw."""
    if episode.frames is not None:
        return [_labelled(frame, episode) for frame in episode.frames]
    end = episode.played.end
    if end is None or end.actions is None:
        raise CannotFilm(f"the episode of seed {episode.played.seed} was not recorded: {episode.played.fault or 'it was too long'}")
    if camera is None:
        raise CannotFilm(f"the episode of seed {episode.played.seed} was not filmed when it was played, and nothing can be repeated here")
    frames = camera.draw(episode.played.seed, end.actions, chosen_steps(len(end.actions), most))
    return [_labelled(frame, episode) for frame in frames]


def _labelled(frame: Frame, episode: Episode) -> Image.Image:
    picture = Image.frombytes("RGB", (frame.width, frame.height), frame.rgb)
    factor = max(1, -(-LEAST // max(frame.width, frame.height)))
    picture = picture.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
    background, foreground, accent = COLOURS
    # Both sides even: the usual video codecs take nothing else.
    whole = Image.new("RGB", (picture.width + picture.width % 2, picture.height + 2 * LINE + picture.height % 2), background)
    whole.paste(picture, (0, 0))
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(size=12)
    room = whole.width // 7
    pen.text((4, picture.height + 2), short(f"step {frame.step}  {episode.running(frame.step)}", room), fill=accent, font=font)
    pen.text((4, picture.height + LINE + 1), short(printable(frame.words), room), fill=foreground, font=font)
    return whole


def write(frames: Sequence[Image.Image], to: Path, per_s: int) -> None:
    """Write a film as `.gif` or `.mp4`, `per_s` frames a second. Raises CannotFilm."""
    writer = WRITERS.get(to.suffix.lower())
    if writer is None:
        raise CannotFilm(f"{to}: a film's name ends in .gif or .mp4")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        writer(frames, to, per_s)
    except OSError as error:
        raise CannotFilm(f"cannot write {to}: {error.strerror or error}") from error


def _gif(frames: Sequence[Image.Image], to: Path, per_s: int) -> None:
    small = [frame.quantize(128) for frame in frames]
    small[0].save(to, format="GIF", save_all=True, append_images=small[1:], duration=max(20, 1000 // per_s), loop=0)


def _mp4(frames: Sequence[Image.Image], to: Path, per_s: int) -> None:
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError:
        raise CannotFilm("films as MP4 need imageio-ffmpeg: pip install 'rlgpt[video]'; .gif needs nothing more") from None
    writer = imageio_ffmpeg.write_frames(str(to), frames[0].size, fps=per_s, macro_block_size=2)
    writer.send(None)
    for frame in frames:
        writer.send(frame.tobytes())
    writer.close()


WRITERS: dict[str, Callable[[Sequence[Image.Image], Path, int], None]] = {".gif": _gif, ".mp4": _mp4}
