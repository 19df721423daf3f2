"""Trying skills, replaying episodes, describing environments: one environment, one worker, a few episodes.

A trial runs in a worker that holds the skill, and what that worker says of success is only a claim. Where the environment is
deterministic, the actions it took are repeated in a clean worker that never saw a skill, and that worker's account is what counts.
(A success expression from a plan is evaluated in both: it is the very definition of success.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from rlgpt.bus.parts import Skill, TrialEpisode
from rlgpt.bus.task import Environment
from rlgpt.envs.description import Description
from rlgpt.envs.errors import StartsInvalid, WorkerDied
from rlgpt.envs.handle import Worker, plain
from rlgpt.envs.layout import Shape
from rlgpt.envs.learned import packed
from rlgpt.envs.limits import Limits, call_deadline
from rlgpt.envs.space import leaves
from rlgpt.envs.transitions import EpisodeEnd
from rlgpt.envs.zygote import Zygote, work_for

Ended = Literal["returned", "step limit", "episode over", "interrupted", "error"]
REPLAY_S = 600.0


def describe(environment: Environment, limits: Limits | None = None) -> Description:
    """What the environment is, found out in a worker, with Gymnasium's checker on.

    Raises EnvironmentUnavailable (nearest id, what to install), EnvironmentUnsupported, SandboxUnavailable, WorkerDied.
    """
    with Zygote(environment, limits=limits, checked=True) as zygote:
        return zygote.description


def try_skill(
    environment: Environment,
    skill: Skill,
    library: Sequence[Skill],
    success: str,
    seeds: Sequence[int],
    *,
    deadline_s: float = 30.0,
    limits: Limits | None = None,
) -> list[TrialEpisode]:
    """One whole call of the skill from the start of a fresh episode for each seed; see `Trials.run`, also for the errors."""
    with Trials(environment, limits) as trials:
        return trials.run(skill, library, success, seeds, deadline_s=deadline_s)


class Trials:
    """Tries skills in one environment; keeps it imported between trials, so that each costs milliseconds to begin.

    Every trial runs in a fresh worker. Raises as `describe`.
    lead_steps  environment steps that were played before its episodes so far (see `envs/lead.py`), by the workers' account
    """

    def __init__(self, environment: Environment, limits: Limits | None = None) -> None:
        self.lead_steps = 0
        self._zygote = Zygote(environment, limits=limits)

    def run(
        self,
        skill: Skill,
        library: Sequence[Skill],
        success: str,
        seeds: Sequence[int],
        *,
        deadline_s: float = 30.0,
        taken: dict[int, npt.NDArray[Any]] | None = None,
    ) -> list[TrialEpisode]:
        """One whole call of the skill from the start of a fresh episode for each seed.

        success     expression that has to hold after some step of the call
        library     skills it may call
        deadline_s  seconds one call may take (of a host: see `call_deadline`); it is stopped softly at four fifths of it, then its worker
                    is killed. No further seed is tried then: the draft has failed
        taken       receives, by seed, the actions each call took ([steps, ...]), as its worker logged them
        Raises SkillInvalid (the skill, one of the library, or the expression), WorkerDied (it does not even load, or its account
        of a trial that cannot be repeated is impossible).
        """
        deadline_s = call_deadline(deadline_s, self._zygote.environment, skill.max_steps)
        with Replayer(self._zygote.environment, success, zygote=self._zygote, until_success=False) as clean:
            others = [other for other in library if other.name != skill.name]
            # `success` is a sub-action's here, so that the episode goes on after it.
            parts = [packed(part) for part in (*others, skill)]
            work = work_for(parts, success, call_s=0.8 * deadline_s, until_success=False)
            worker = self._zygote.fork(_shape(self._zygote, len(others) + 1, skill.max_steps), work, deadline_s)
            episodes = []
            for seed in seeds:
                try:
                    claim = worker.ask({"trial": int(seed)}, deadline_s)
                except WorkerDied as death:
                    episodes.append(_cut_off(worker, clean, seed, skill, str(death)))
                    break
                episodes.append(_judge(claim, worker, clean, seed, skill))
                if taken is not None:
                    taken[int(seed)] = _logged(worker, skill)
            self.lead_steps += worker.lead_steps
            worker.kill()
        return episodes

    def close(self) -> None:
        """End the processes."""
        self._zygote.close()

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def replay(environment: Environment, success: str, seed: int, actions: npt.NDArray[Any], *, limits: Limits | None = None) -> EpisodeEnd:
    """Repeat an episode in a clean worker; see `Replayer` for several."""
    with Replayer(environment, success, limits=limits) as replayer:
        return replayer.replay(seed, actions)


class Replayer:
    """A clean worker: it never sees a skill, so that what it says of an episode can be believed.

    until_success  False: the episodes go on after the success, whatever the environment says
    Raises as `describe`, and SkillInvalid for the success expression.
    """

    def __init__(
        self,
        environment: Environment,
        success: str,
        *,
        limits: Limits | None = None,
        zygote: Zygote | None = None,
        until_success: bool = True,
    ) -> None:
        self._own = None if zygote else Zygote(environment, limits=limits)
        self._zygote = zygote or cast(Zygote, self._own)
        try:
            self._shape = _shape(self._zygote, 0, 0)
            self._worker = self._zygote.fork(self._shape, work_for([], success, until_success=until_success))
        except BaseException:
            if self._own:
                self._own.close()
            raise

    def replay(self, seed: int, actions: npt.NDArray[Any]) -> EpisodeEnd:
        """The episode of `seed` with these actions ([steps, ...]); raises WorkerDied if they are no actions of this environment."""
        account = self._ask(seed, actions)
        if account["error"]:
            raise WorkerDied(f"the replay of seed {seed} failed: {plain(account['error'], 2000)}")
        return EpisodeEnd(
            int(seed), bool(account["success"]), float(account["episode_return"]), int(account["steps"]), not account["terminated"], actions
        )

    def snapshot(self, seed: int, actions: npt.NDArray[Any]) -> bytes:
        """The environment's own snapshot of where these actions lead. Raises StartsInvalid where it has none, WorkerDied as `replay`."""
        account = self._ask(seed, actions, snapshot=True)
        if account["error"]:
            raise WorkerDied(f"the replay of seed {seed} failed: {plain(account['error'], 2000)}")
        if not isinstance(account["snapshot"], bytes):
            raise StartsInvalid(plain(account["snapshot"], 1000))
        return account["snapshot"]

    def tell(self, seed: int, actions: npt.NDArray[Any], steps: Sequence[int]) -> list[str]:
        """What is observed after each of these steps (ascending; 0: at the beginning), in the card's words. Raises WorkerDied."""
        account = self._ask(seed, actions, at=[int(step) for step in steps])
        if account["error"] or len(account["told"]) != len(steps):
            raise WorkerDied(f"the replay of seed {seed} failed: {plain(account['error'], 2000)}")
        return [plain(words, 1000) for words in account["told"]]

    def fault(self, seed: int, actions: npt.NDArray[Any]) -> str:
        """Play them as far as the episode goes; what failed, in words, "" if nothing did. Raises WorkerDied."""
        account = self._ask(seed, actions)
        ended = bool(account["terminated"] or account["truncated"])
        return "" if ended and account["steps"] < len(actions) else plain(account["error"], 2000)

    def narrate(self, seed: int, actions: npt.NDArray[Any]) -> TrialEpisode:
        """The same in words, for people and models."""
        return _episode(self._ask(seed, actions), seed, "episode over", "")

    def close(self) -> None:
        """End the worker."""
        self._worker.kill()
        if self._own:
            self._own.close()

    def __enter__(self) -> Replayer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, seed: int, actions: npt.NDArray[Any], **more: bool | list[int]) -> dict[str, Any]:
        leaf = leaves(self._shape.action)[0]
        array = np.ascontiguousarray(actions, leaf.dtype).reshape(-1, *leaf.shape)
        return self._worker.ask({"replay": int(seed), "actions": array.tobytes(), **more}, REPLAY_S)


def _judge(claim: dict[str, Any], worker: Worker, clean: Replayer, seed: int, skill: Skill) -> TrialEpisode:
    """A trial as it counts: by the clean worker where it can be repeated, else by its own account."""
    ended = claim.get("ended")
    known = ("returned", "step limit", "episode over", "interrupted")
    fate: Ended = ended if ended in known else "error"
    error = plain(claim.get("error", ""), 2000)
    if fate == "error":
        error = error or "the skill failed, and its worker did not say why"
    environment, printed = clean._zygote.environment, plain(claim.get("printed", ""), 2500)
    notes = [*_interrupted(claim.get("interrupts"), environment), *([f"it printed: {printed}"] if printed else [])]
    if not environment.deterministic:
        return _episode(_checked(claim, skill), seed, fate, error, notes)
    account = clean._ask(seed, _logged(worker, skill))
    differs = [name for name in ("steps", "success", "episode_return") if not _same(claim.get(name), account[name])]
    if differs and not error:
        told = ", ".join(f"{name} {account[name]} (claimed: {plain(repr(claim.get(name)), 40)})" for name in differs)
        fate, error = "error", f"its actions, repeated in a clean worker, gave {told}; what cannot be repeated does not count"
    return _episode(account, seed, fate, error or plain(account["error"], 2000), notes)


def _interrupted(claimed: object, environment: Environment) -> list[str]:
    """Which interrupts ended a call, in words; the call was then made again."""
    if not isinstance(claimed, dict):
        return []
    times = {name: claimed[name] for name in environment.interrupts if isinstance(claimed.get(name), int)}
    return [
        f"{count} call{'s were' if count != 1 else ' was'} ended by the interrupt {name!r}, which held then: {environment.interrupts[name]}"
        for name, count in times.items()
    ]


def _cut_off(worker: Worker, clean: Replayer, seed: int, skill: Skill, reason: str) -> TrialEpisode:
    """A trial whose worker was lost: what it did until then, as far as that can be repeated."""
    error = f"skill {skill.name!r} lost its worker: {reason}"
    account = clean._ask(seed, _logged(worker, skill))
    return _episode({**account, "success": False}, seed, "error", error)


def _logged(worker: Worker, skill: Skill) -> npt.NDArray[Any]:
    """The actions of the call, as the worker logged them; the clean worker checks each."""
    steps = min(max(0, worker.busy()[2]), skill.max_steps)
    actions: npt.NDArray[Any] = worker.views.log[0, :steps].copy()
    return actions


def _checked(claim: dict[str, Any], skill: Skill) -> dict[str, Any]:
    """A claim that cannot be repeated: at least of the right types and in range."""
    steps, gained, trace = claim.get("steps"), claim.get("episode_return"), claim.get("trace")
    if not isinstance(steps, int) or not 0 <= steps <= skill.max_steps or not isinstance(gained, float) or not math.isfinite(gained):
        raise WorkerDied(f"the trial of {skill.name!r} gave an account that cannot be: {plain(repr(claim), 500)}")
    lines = [plain(line, 500) for line in trace[:60]] if isinstance(trace, list) else []
    return {"steps": steps, "episode_return": gained, "success": claim.get("success") is True, "trace": lines} | {
        name: plain(claim.get(name, ""), 1000) for name in ("first", "last")
    }


def _episode(account: dict[str, Any], seed: int, ended: Ended, error: str, notes: Sequence[str] = ()) -> TrialEpisode:
    return TrialEpisode(
        seed=int(seed),
        success=bool(account["success"]) and ended != "error",
        steps=account["steps"],
        episode_return=account["episode_return"],
        ended=ended,
        first=account["first"],
        last=account["last"],
        trace=(*account["trace"], *notes),
        error=error,
    )


def _same(claimed: object, found: object) -> bool:
    if isinstance(claimed, float) and isinstance(found, float):
        return math.isclose(claimed, found, rel_tol=1e-9, abs_tol=1e-9)
    return claimed == found


def _shape(zygote: Zygote, skills: int, log: int) -> Shape:
    description = zygote.description
    return Shape(description.observation_space, description.action_space, 1, skills, log)
