"""What a hostile worker can write, send or signal, and what its parent makes of it: the worker is replaced, the parent goes on.

The attacker is a skill that reaches through the garbage collector for the worker's own machinery, and from then on lies.
"""

from __future__ import annotations

import contextlib
import textwrap

import numpy as np
import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs.crew import Crew, Orders
from rlgpt.envs.errors import SkillInvalid, WorkerDied
from rlgpt.envs.layout import CALL, PRIMITIVE, RESET
from rlgpt.envs.learned import packed
from rlgpt.envs.pool import Call, Limits, Primitive, Trials, WorkerPool
from rlgpt.envs.zygote import Zygote, work_for

MODULES = ("math", "numpy", "gc", "os", "socket", "itertools", "time", "select")
CORRIDOR = Environment(id="CartPole-v1", imports=MODULES)
SEIZE = """
import gc, os, socket, itertools, time
things = gc.get_objects()
runner = next(t for t in things if type(t).__name__ == "Runner")
channel = next(t for t in things if type(t).__name__ == "Channel")
view, told, header = runner.views, runner.answers, runner.views.header
"""

# Done after an honest batch, before it is announced; what the parent says of it.
LIES = {
    "told.numbers[0, 0] = np.nan": "a reward or return is not finite",
    "told.numbers[0, 0] = np.inf": "a reward or return is not finite",
    "told.numbers[0, 0] = 1e200": "a reward or return is not finite",
    "told.numbers[0, 1] = -np.inf": "a reward or return is not finite",
    "told.duration[0] = 0": "took 0 steps, where 1 to 1 are possible",
    "told.duration[0] = -1": "took -1 steps",
    "told.duration[0] = 2": "took 2 steps",
    "told.duration[0] = 2**31 - 1": "took 2147483647 steps",
    "told.flags[0, 0] = 2": "flags holds 2",
    "told.flags[0, 1] = 255": "flags holds 255",
    "told.flags[0, 2] = 9": "flags holds 9",
    "told.runnable[0, 0] = 3": "runnable holds 3",
    "view.obs[0][0, 1] = np.nan": "obs is not finite",
    "view.obs[0][0, 1] = np.inf": "obs is not finite",
    "told.flags[0, 1] = 1; view.final_obs[0][0, 0] = np.nan": "final_obs is not finite",
    "told.fault_size[0] = 10**6": "longer than its place",
    "told.fault_size[0] = -1": "longer than its place",
    "told.fault_size[0] = 5": "failed, yet its episode goes on",
    "header[1] = 0": "no answer within",
    "header[1] = 10**15": "no answer within",
    "header[0] = header[1] = 12345": "no answer within",
    "header[1] -= 1": "no answer within",  # the batch before once more
    "header[0] -= 1; header[1] = header[0]": "no answer within",
    "told.numbers[:] = 1e30": "a reward or return is not finite",
    "view.answers[:] = 255": "flags holds 255",
    "[array.fill(np.nan) for array in view.obs]": "obs is not finite",
    "bells = next(t for t in things if type(t).__name__ == 'Doorbells'); [os.eventfd_write(bells.done, 1) for _ in range(9)]": "",
    "[os.ftruncate(fd, 0) for fd in range(3, 10)]": "it failed: PermissionError",
    "view.log[0] = 77": "action holds a value outside 0 to 1",
    "os._exit(0)": "it ended by itself with status 0",
    "os._exit(70)": "it ran out of memory",
    "raise KeyboardInterrupt": "it failed: KeyboardInterrupt",
    "raise MemoryError": "it ran out of memory",
    "[os.write(fd, b'\\xff' * 8) for fd in range(3, 12) if fd != channel.fileno()]": "",
    "for _ in itertools.count(): channel.socket.send(b'x' * 60000)": "no answer within",
    "channel.socket.close()": "",
    "[os.close(fd) for fd in range(3, 12)]": "",
    "while True: pass": "no answer within",
}


def seizing(lie: str, method: str = "batch") -> Skill:
    """A skill whose first call plants `lie` in the worker: it is told after every later call of the runner's `method`."""
    source = f"""
def plant(obs, info):
{textwrap.indent(SEIZE, "    ")}
    honest = runner.{method}
    def lying(*arguments):
        answer = honest(*arguments)
        # The call that planted it is over first; from the second on, it lies.
        {lie}
        return answer
    runner.{method} = lying
    yield 0
"""
    return Skill(name="plant", source=source, max_steps=1)


@pytest.fixture(scope="module")
def zygote():
    with Zygote(CORRIDOR) as zygote:
        yield zygote


@contextlib.contextmanager
def lying(zygote: Zygote, lie: str):
    """A crew of one worker with one environment, in which the lie has been planted, and a question for it."""
    work = work_for([packed(seizing(lie))], "False")
    crew = Crew(zygote, [1], ["plant"], work, logged=1, deadline_s=0.5)

    def ask(kind: int, skill: int = -1):
        orders = Orders([kind], [skill], [0 if kind == RESET else 1], np.zeros(1, np.int64) if kind == PRIMITIVE else None)
        batch, lost = crew.ask(orders, [3])
        return batch, lost[0].why if lost else ""

    ask(RESET)
    ask(CALL, 0)
    try:
        yield ask, crew
    finally:
        crew.close()


@pytest.mark.parametrize("lie", LIES)
def test_lie_in_shared_memory_costs_the_worker_and_not_the_parent(lie, zygote):
    with lying(zygote, lie) as (ask, crew):
        before = crew.workers[0].pid
        _, why = ask(PRIMITIVE)
        print(f"{lie:75} -> {why or 'without effect'}")
        assert LIES[lie] in why
        assert bool(why) == (crew.workers[0].pid != before)
        if LIES[lie]:
            assert why
            assert ask(PRIMITIVE)[1] == ""


def test_fault_text_with_control_characters_reaches_nobody_as_such(zygote):
    lie = "told.flags[0, 1] = 1; text = b'\\x1b[2Jred \\xff\\x00\\x07 alert'; view.fault[0, :len(text)] = np.frombuffer(text, np.uint8); "
    lie += "told.fault_size[0] = len(text)"
    with lying(zygote, lie) as (ask, _):
        (fault,) = ask(PRIMITIVE)[0].faults
    assert "red" in fault
    assert not set(fault) & {"\x1b", "\x00", "\x07"}


# Sent instead of, or before, the honest answer to a trial.
TALES = {
    "channel.socket.send(b'')": "",
    "channel.socket.send(b'\\x80\\x04K\\x01.')": "a pickle",
    "channel.socket.send(b'\\x01\\x00')": "half a header",
    "channel.socket.send(b'\\x02\\x00\\x00\\x00\\x01' + b'\\xc1')": "no msgpack",
    "channel.socket.send(b'\\x02\\x00\\x00\\x00\\x01' + b'\\x90')": "a list for a map",
    "channel.socket.send(b'\\x02\\x00\\x00\\x00\\x01' + b'\\x91' * 50000)": "nested without end",
    "channel.socket.send(b'\\x02\\x00\\x00\\x00\\x01' + b'\\xdd\\xff\\xff\\xff\\xff')": "a list of four billion",
    "channel.socket.send(b'\\x02\\x00\\x00\\x00\\x01' + b'\\xc6\\xff\\xff\\xff\\xff')": "four gigabytes of bytes",
    "channel.socket.send(b'\\x07\\x00\\x00\\x00\\x01' + b'\\x80')": "a number out of turn",
    "channel.socket.send(b'\\x02\\x00\\x00\\x00\\x01' + b'\\x80')": "an empty map",
    "for _ in itertools.count(): channel.socket.send(b'\\x02\\x00\\x00\\x00\\x00' + b'x' * 59000)": "without end",
    "answer.update(ended=5, error=[1], steps=-3, episode_return='x', success=2, trace=7, first=None, last={}, printed=9)": "other types",
    "answer.update(ended='returned', steps=10**9, success=True)": "impossible steps",
    "answer.clear()": "nothing",
    "answer.update(episode_return=float('nan'))": "no number",
    "answer.update(trace=['x' * 10**6] * 3)": "a long trace",
    "answer.update(error='x' * 10**6, ended='error')": "a long error",
    "answer.update(died='\\x1b[2J')": "dead, and alive",
}


@pytest.mark.parametrize("tale", TALES)
@pytest.mark.parametrize("deterministic", [True, False])
def test_forged_account_of_a_trial_ends_as_a_failure_or_is_corrected(tale, deterministic, trials):
    skill = seizing(tale, "_account")
    try:
        (episode,) = trials[deterministic].run(skill, (), "steps > 5", [1], deadline_s=0.5)
    except WorkerDied as death:
        told = str(death)
    else:
        told = ""
    if told:
        assert not deterministic
        assert "an account that cannot be" in told
        return
    print(f"{TALES[tale]:25} -> {episode.ended}: {episode.error[:80]!r}")
    assert not episode.success
    assert 0 <= episode.steps <= 1
    assert len(episode.error) <= 2500
    assert sum(map(len, episode.trace)) < 40_000
    assert "\x1b" not in episode.error


@pytest.fixture(scope="module")
def trials():
    environments = {value: CORRIDOR.model_copy(update={"deterministic": value}) for value in (True, False)}
    with Trials(environments[True]) as repeatable, Trials(environments[False]) as not_repeatable:
        yield {True: repeatable, False: not_repeatable}


def test_forged_readiness_does_not_confuse_the_parent(trials):
    source = SEIZE + "channel.send({'ready': 5})\ndef plant(obs, info):\n    yield 0\n"
    (episode,) = trials[True].run(Skill(name="plant", source=source, max_steps=1), (), "steps > 5", [1], deadline_s=0.5)
    assert not episode.success
    source = SEIZE + "channel.send({'invalid': {'x': 1}, 'line': 'y'})\ndef plant(obs, info):\n    yield 0\n"
    with pytest.raises(SkillInvalid):
        trials[True].run(Skill(name="plant", source=source, max_steps=1), (), "steps > 5", [1], deadline_s=0.5)


@pytest.mark.parametrize(
    "what", ["[cut(os.ftruncate, fd, 0) for fd in range(3, 12)]", "[cut(os.write, fd, b'\\xfe' + b'\\xff' * 7) for fd in range(3, 12)]"]
)
def test_parent_survives_truncated_memory_and_blocked_bells_even_of_a_worker_that_is_not_locked(what):
    # Locked workers cannot even try the first. SIGBUS would end this process; a write to a full, blocking bell would hold it for ever.
    source = f"""
import os
def cut(call, *arguments):
    try: call(*arguments)
    except OSError: pass
def harm(obs, info):
    {what}
    yield 0
"""
    skill = Skill(name="harm", source=source, max_steps=1)
    with WorkerPool(
        CORRIDOR, success="False", environments=2, workers=1, skills=[skill], limits=Limits(unsafe=True), deadline_s=1.0
    ) as pool:
        pool.reset([1, 2])
        pool.step([Call(0), Primitive(0)], [3, 4])
        pool.step([Primitive(0), Primitive(1)], [5, 6])  # it may have made itself useless, and is replaced then
        assert pool.step([Primitive(0), Primitive(1)], [7, 8]).faults == ("", "")
