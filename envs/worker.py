"""The process that runs environments and model-written code.

`python -m rlgpt.envs.worker FD [HOST_FD]` is the *zygote*: executed by `envs/zygote.py` with a clean environment, it imports, makes and
warms up the environments, describes them, and forks a worker whenever it is asked to. It never runs model-written code itself. A forked
worker maps its shared memory, locks itself in, and only then receives skills and expressions.
"""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import platform
import re
import select
import signal
import socket
import sys
import time
import warnings
from dataclasses import asdict
from typing import Any

from gymnasium.wrappers import PassiveEnvChecker

from rlgpt.envs import lockdown, seccomp
from rlgpt.envs.actions import ActionReader
from rlgpt.envs.description import Description
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid, lock_words
from rlgpt.envs.examine import diagnose, examine
from rlgpt.envs.frames import draw
from rlgpt.envs.handle import Doorbells
from rlgpt.envs.hosted import HostedEnv, connect
from rlgpt.envs.layout import Shape
from rlgpt.envs.lead import PLAYERS, Leading
from rlgpt.envs.patience import Patience
from rlgpt.envs.registry import make
from rlgpt.envs.runner import Given, Runner, load, rehearse
from rlgpt.envs.skill import preload
from rlgpt.envs.space import describe, leaves
from rlgpt.envs.starts import Starts
from rlgpt.envs.starts import read as read_starts
from rlgpt.envs.toolkit import load as load_toolkit
from rlgpt.envs.wire import Channel, WireError
from rlgpt.envs.words import clip, info_words, observation_words

OUT_OF_MEMORY = 70
PRINTED = 2000
WARM_UP_STEPS, WARM_UP_S = 500, 0.3
CHECK_STARTS_S = 20.0


def main() -> None:
    """Entry of the zygote; its arguments are the number of its control socket and, of a hosted environment, that of a host's stream."""
    control = Channel(socket.socket(fileno=int(sys.argv[1])))
    parent = os.getppid()
    config = control.receive(60)
    # No handler: an import that hangs, even in C, ends here if the parent does not end it first.
    signal.alarm(int(config["start_s"]) + 1)
    try:
        env, description, step_s, given = _prepare(config)
    except (EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid) as error:
        control.send({"failed": type(error).__name__, "text": str(error)})
        return
    except Exception as error:
        text = f"environment {config['id']!r} failed when it was made: {type(error).__name__}: {error}"
        control.send({"failed": EnvironmentUnavailable.__name__, "text": clip(text, 4000)})
        return
    signal.alarm(0)
    if isinstance(env, HostedEnv):
        env.detach()  # a worker gets a connection of its own
    control.send({"description": asdict(description), "step_s": step_s})
    os.dup2(0, 2)  # the standard error kept start-up's words for the parent; from here on it is /dev/null
    config["namespaces"] = not config["unsafe"] and lockdown.enter_namespaces()
    gc.collect()
    gc.freeze()
    if not config["unsafe"]:
        seccomp.program(platform.machine())  # made once, for all workers
    _serve_forks(control, parent, config, [env], given)
    os._exit(0)  # there is nothing to tidy up, and tidying up all that was imported takes a tenth of a second


def _prepare(config: dict[str, Any]) -> tuple[Any, Description, float, Given]:
    """The environment, made and warmed up; what it is; seconds a step of it takes; its start states and toolkit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "builtin type .* has no __module__", DeprecationWarning)  # of SWIG, which Box2D is made with
        preload(config["imports"])
        toolkit = load_toolkit(config["toolkit"])
        env = bare = _make(config)
        if isinstance(env, HostedEnv) and config["checked"]:
            env = PassiveEnvChecker(env)
        observation, action = describe(env.observation_space), describe(env.action_space)
        reader = ActionReader(action, config["actions"])
        if not leaves(observation):
            raise EnvironmentUnsupported("no part of the observation is an array; wrap the environment to encode it")
        try:
            step_s = _warm_up(env)
        except Exception as error:
            raise diagnose(env, config["id"], error) from error
        rehearse()
        starts = _starts(config, env, reader)
        oddities = examine(env, observation, config["id"], config["deterministic"]) if config["checked"] else []
        obs, info = starts.begin(env, 0) if starts else env.reset(seed=0)
        if not isinstance(info, dict):
            raise diagnose(env, config["id"], TypeError("reset has to return (observation, info), info a dict"))
        words = toolkit.tell(obs, info, lambda: observation_words(obs, observation, config["observations"]))
        if config["drawn"]:
            draw(env, obs)  # what drawing imports and opens has to be there before a worker locks itself in
    spec = env.spec
    limit = spec.max_episode_steps if spec else None
    if (spec.id if spec else "").startswith(("MiniGrid-", "BabyAI-")):  # which count for themselves
        limit = min(limit or env.unwrapped.max_steps, env.unwrapped.max_steps)
    told = bare.warnings if isinstance(bare, HostedEnv) else ()
    said = tuple(dict.fromkeys((*told, *oddities, *(clip(_plain(warning.message), 500) for warning in caught))))[:20]
    identifier, functions = spec.id if spec else config["id"], toolkit.signatures()
    description = Description(identifier, observation, action, limit, words, info_words(info), said, functions)
    return bare, description, step_s, Given(starts, toolkit, _leading(config, (observation, action)))


def _leading(config: dict[str, Any], spaces: tuple[Any, Any]) -> tuple[Leading | None, ...]:
    """Who plays the stages before: their networks, read now; None where a controller does. Raises EnvironmentUnavailable."""
    found: list[Leading | None] = []
    for lead in config["lead"]:
        policy = lead["policy"]
        if policy is not None and policy["media_type"] not in PLAYERS:
            raise EnvironmentUnavailable(f"the policy of stage {lead['name']!r} is a {policy['media_type']!r}, which is not known here")
        player = policy and importlib.import_module(PLAYERS[policy["media_type"]])
        found.append(player and player.load(policy["uri"], policy["sha256"], spaces))
    return tuple(found)


def _plain(warning: Warning | str) -> str:
    """A warning's text without Gymnasium's colours."""
    return re.sub(r"\x1b\[\d*m", "", str(warning)).removeprefix("WARN: ")


def _make(config: dict[str, Any]) -> Any:
    """The environment, or the proxy of a hosted one."""
    limit = config["max_episode_steps"]
    if config["host"] is None:
        return make(config["id"], config["kwargs"], limit, checked=bool(config["checked"]))
    waits = {name: float(config["host"][name]) for name in ("start_s", "reset_s", "step_s")}
    return connect(socket.socket(fileno=int(sys.argv[2])), config["id"], waits, limit)


def _starts(config: dict[str, Any], env: Any, reader: ActionReader) -> Starts | None:
    """The environment's start states, if it has any; `checked`: tried, each of them or as many as can be in CHECK_STARTS_S."""
    if config["starts"] is None:
        return None
    uri = config["starts"]["uri"]
    starts = Starts(read_starts(uri, config["starts"]["sha256"]), reader, uri)
    if starts.repeats_actions and not config["deterministic"]:
        warnings.warn("the start states repeat actions, which leads elsewhere in an environment that is not deterministic", stacklevel=1)
    begin = time.monotonic()
    for i in range(len(starts) if config["checked"] else 0):
        starts.begin(env, i)
        if time.monotonic() - begin > CHECK_STARTS_S:
            warnings.warn(f"only the first {i + 1} of {len(starts)} start states were tried: they take long to reach", stacklevel=1)
            break
    return starts


def _warm_up(env: Any) -> float:
    """Play a little at random: what is imported or opened at first use has to be there before a worker locks itself in.

    Returns seconds of a step, the share of resets in them.
    """
    env.action_space.seed(0)
    env.reset(seed=0)
    begin, step = time.monotonic(), 0
    while step < WARM_UP_STEPS and time.monotonic() - begin < WARM_UP_S:
        step += 1
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset(seed=step)
    return (time.monotonic() - begin) / step


def _serve_forks(control: Channel, parent: int, config: dict[str, Any], environments: list[Any], given: Given) -> None:
    poller = select.poll()
    poller.register(control, select.POLLIN)
    while True:
        # Normally the closed socket tells that the parent is gone; should a stray copy of its end live on, its id does.
        if not poller.poll(1000):
            if os.getppid() != parent:
                return
            continue
        try:
            message = control.receive()
        except WireError:
            return
        if "reap" in message:
            control.send({"status": os.waitpid(message["reap"], 0)[1]})
            continue
        _, descriptors, _, _ = socket.recv_fds(control.socket, 1, 4 + message["shape"]["slots"])
        while len(environments) < message["shape"]["slots"]:  # made once, here, and copied by every fork
            first = environments[0]
            environments.append(first.twin() if isinstance(first, HostedEnv) else _make(config))
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            control.close()
            _be_worker(zygote, descriptors, message, config, environments, given)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send({"pid": pid})


def _be_worker(
    zygote: int,
    descriptors: list[int],
    message: dict[str, Any],
    config: dict[str, Any],
    environments: list[Any],
    given: Given,
) -> None:
    """Lock in, take the work, serve until killed. Never returns."""
    lockdown.die_with_parent(zygote)
    end, memory, go, done, *hosts = descriptors
    channel = Channel(socket.socket(fileno=end))
    status = 1
    try:
        shape = Shape(**message["shape"])
        shared = mmap.mmap(memory, message["size"])
        os.close(memory)
        printed = Printed()
        sys.stdout = sys.stderr = printed
        runner = Runner(shape, shared, environments, (config["actions"], config["observations"]), printed, given)
        for env, descriptor in zip(environments, hosts, strict=False):
            env.attach(socket.socket(fileno=descriptor), runner.views.header)
        budget = int(config["memory_mb"]) << 20
        locks = () if config["unsafe"] else lockdown.lock(budget)
        if config["unsafe"]:
            lockdown.limit_memory(budget)
        work = channel.receive()
        load(runner, work, config)
        channel.send({"ready": [*locks, *(["namespaces"] if config["namespaces"] else [])]})
        _serve(channel, Doorbells(go, done), runner, Patience(bool(work["look"])))
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    except SkillInvalid as error:
        channel.send({"invalid": clip(str(error), 4000), "line": error.line})
        status = 0
    except WireError:
        status = 0
    except BaseException as error:
        channel.send({"died": clip(f"{type(error).__name__}: {error}", 3500) + lock_words(error)})
    finally:
        os._exit(status)


def _serve(channel: Channel, bells: Doorbells, runner: Runner, patience: Patience) -> None:
    poller = select.poll()
    poller.register(bells.go, select.POLLIN)
    poller.register(channel, select.POLLIN)
    while True:
        begin = time.perf_counter()
        # What is seen in memory is only a reason not to sleep: the bell orders what the parent wrote before what we read.
        patience.look(runner.seems_asked)
        ready = poller.poll()
        patience.waited(time.perf_counter() - begin)
        for descriptor, _ in ready:
            if descriptor == bells.go:
                os.read(bells.go, 8)
                runner.batch()
                os.eventfd_write(bells.done, 1)
            else:
                channel.send(runner.answer(channel.receive()))


class Printed:
    """What a worker prints: the first PRINTED characters are kept, the rest is counted and dropped."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text, self.dropped = "", 0

    def write(self, text: str) -> int:
        kept = str(text)[: PRINTED - len(self.text)]
        self.text += kept
        self.dropped += len(text) - len(kept)
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""

    def isatty(self) -> bool:
        return False

    def take(self) -> str:
        """What was printed since the last time."""
        text = self.text + (f"… and {self.dropped} more characters" if self.dropped else "")
        self.text, self.dropped = "", 0
        return text


if __name__ == "__main__":
    main()
