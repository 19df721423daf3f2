"""The process that runs environments and model-written code.

`python -m rlgpt.envs.worker FD` is the *zygote*: executed by `envs/zygote.py` with a clean environment, it imports, makes and warms up
the environments, describes them, and forks a worker whenever it is asked to. It never runs model-written code itself. A forked
worker maps its shared memory, locks itself in, and only then receives skills and expressions.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import socket
import sys
import time
import warnings
from dataclasses import asdict
from typing import Any

from rlgpt.envs import lockdown
from rlgpt.envs.actions import ActionReader
from rlgpt.envs.description import Description
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid
from rlgpt.envs.handle import Doorbells
from rlgpt.envs.layout import Shape
from rlgpt.envs.registry import make
from rlgpt.envs.runner import Runner, load, rehearse
from rlgpt.envs.skill import preload
from rlgpt.envs.space import describe, leaves
from rlgpt.envs.wire import Channel, WireError
from rlgpt.envs.words import clip, info_words, observation_words

OUT_OF_MEMORY = 70
PRINTED = 2000
WARM_UP_STEPS, WARM_UP_S = 500, 0.3


def main() -> None:
    """Entry of the zygote; its only argument is the number of its control socket."""
    control = Channel(socket.socket(fileno=int(sys.argv[1])))
    parent = os.getppid()
    config = control.receive(60)
    # No handler: an import that hangs, even in C, ends here if the parent does not end it first.
    signal.alarm(int(config["start_s"]) + 1)
    try:
        env, description, step_s = _prepare(config)
    except (EnvironmentUnavailable, EnvironmentUnsupported, SkillInvalid) as error:
        control.send({"failed": type(error).__name__, "text": str(error)})
        return
    except Exception as error:
        text = f"environment {config['id']!r} failed when it was made: {type(error).__name__}: {error}"
        control.send({"failed": EnvironmentUnavailable.__name__, "text": clip(text, 4000)})
        return
    signal.alarm(0)
    control.send({"description": asdict(description), "step_s": step_s})
    os.dup2(0, 2)  # the standard error kept start-up's words for the parent; from here on it is /dev/null
    gc.collect()
    gc.freeze()
    _serve_forks(control, parent, config, [env])


def _prepare(config: dict[str, Any]) -> tuple[Any, Description, float]:
    """The environment, made and warmed up; what it is; seconds a step of it takes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        preload(config["imports"])
        env = make(config["id"], config["kwargs"], config["max_episode_steps"], checked=bool(config["checked"]))
        observation, action = describe(env.observation_space), describe(env.action_space)
        ActionReader(action, config["actions"])
        if not leaves(observation):
            raise EnvironmentUnsupported("no part of the observation is an array; wrap the environment to encode it")
        step_s = _warm_up(env)
        rehearse()
        obs, info = env.reset(seed=0)
        words = observation_words(obs, observation, config["observations"])
    spec = env.spec
    limit = spec.max_episode_steps if spec else None
    said = tuple(dict.fromkeys(clip(str(warning.message), 500) for warning in caught))[:20]
    return env, Description(spec.id if spec else config["id"], observation, action, limit, words, info_words(info), said), step_s


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


def _serve_forks(control: Channel, parent: int, config: dict[str, Any], environments: list[Any]) -> None:
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
        _, descriptors, _, _ = socket.recv_fds(control.socket, 1, 4)
        while len(environments) < message["shape"]["slots"]:  # made once, here, and copied by every fork
            environments.append(make(config["id"], config["kwargs"], config["max_episode_steps"]))
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            control.close()
            _be_worker(zygote, descriptors, message, config, environments)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send({"pid": pid})


def _be_worker(zygote: int, descriptors: list[int], message: dict[str, Any], config: dict[str, Any], environments: list[Any]) -> None:
    """Lock in, take the work, serve until killed. Never returns."""
    lockdown.die_with_parent(zygote)
    end, memory, go, done = descriptors
    channel = Channel(socket.socket(fileno=end))
    status = 1
    try:
        shape = Shape(**message["shape"])
        shared = mmap.mmap(memory, message["size"])
        os.close(memory)
        printed = Printed()
        sys.stdout = sys.stderr = printed
        runner = Runner(shape, shared, environments, (config["actions"], config["observations"]), printed)
        budget = int(config["memory_mb"]) << 20
        locks = () if config["unsafe"] else lockdown.lock(budget)
        if config["unsafe"]:
            lockdown.limit_memory(budget)
        load(runner, channel.receive(), config["imports"])
        channel.send({"ready": list(locks)})
        _serve(channel, Doorbells(go, done), runner)
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    except SkillInvalid as error:
        channel.send({"invalid": clip(str(error), 4000), "line": error.line})
        status = 0
    except WireError:
        status = 0
    except BaseException as error:
        channel.send({"died": clip(f"{type(error).__name__}: {error}", 4000)})
    finally:
        os._exit(status)


def _serve(channel: Channel, bells: Doorbells, runner: Runner) -> None:
    poller = select.poll()
    poller.register(bells.go, select.POLLIN)
    poller.register(channel, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
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
