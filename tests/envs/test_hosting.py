"""What is special to hosted environments: other APIs and interpreters, hosts that die, hang or lie, and hosts on other machines."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
from foreign import Corridor
from pydantic import ValidationError

from rlgpt.bus.parts import Skill
from rlgpt.bus.security import make_broker, make_client
from rlgpt.bus.task import Environment, Host
from rlgpt.envs.errors import EnvironmentUnavailable, EnvironmentUnsupported, HostLost
from rlgpt.envs.hosted import connect
from rlgpt.envs.hosted_spaces import checked
from rlgpt.envs.hosting import __file__ as hosting
from rlgpt.envs.hosting.frames import FrameError, Late, Stream, pack, unpack
from rlgpt.envs.hosting.spaces import read_action
from rlgpt.envs.hosts import open_hosts
from rlgpt.envs.layout import PRIMITIVE
from rlgpt.envs.pool import Call, Primitive, WorkerPool, describe, replay, try_skill
from rlgpt.envs.starts import StartState, write

HERE = str(Path(__file__).parent)
QUICK = Host(path=(HERE,), step_s=1.0, reset_s=2.0)
LEFT, RIGHT, TRAP = Primitive(0), Primitive(1), Primitive(2)
OLD_PYTHON = os.environ.get("RLGPT_OLD_PYTHON", "")
"""An interpreter >= 3.9 with numpy, msgpack, pyzmq and any gym, and without rlgpt."""


def at(name: str, host: Host = QUICK, **kwargs) -> Environment:
    return Environment(id=f"foreign:{name}", host=host, **kwargs)


def hosts_of(pool: WorkerPool) -> list[int]:
    return [slot.process.pid for slot in pool._crew._zygote._hosts._slots.slots]


# ---------------------------------------------------------------- other APIs and interpreters


def test_environment_of_the_old_api_has_seeds_truncation_and_a_time_limit():
    with WorkerPool(at("Corridor", kwargs={"limit": 3}), success="obs[0] >= 5", environments=2) as pool:
        assert pool.reset([7, 8]).obs.tolist() == [[0, 7], [0, 8]]
        last = [pool.step([RIGHT, LEFT], [3, 4]) for _ in range(3)][-1]
        assert last.truncated.tolist() == [True, True]
        assert last.final_obs.tolist() == [[3, 10], [-3, 11]]
        assert last.obs.tolist() == [[0, 3], [0, 4]]
    with WorkerPool(at("Corridor", max_episode_steps=6), success="obs[0] >= 5", environments=2) as pool:
        pool.reset([0, 0])
        steps = [pool.step([RIGHT, LEFT], [0, 0]) for _ in range(6)]
    assert steps[4].terminated.tolist() == [True, False]
    assert (steps[4].ended[0].success, steps[4].ended[0].truncated) == (True, False)
    assert steps[5].truncated.tolist() == [False, True]


def test_numbers_arrays_and_texts_of_info_arrive_as_such():
    look = "obs, info = yield 1\nassert info['where'] == 1 and info['names'].tolist() == ['a', 'bc'] and (info['names'] == 'bc').any()"
    skill = Skill(name="look", source="def look(obs, info):\n    " + look.replace("\n", "\n    ") + "\n", max_steps=3)
    (episode,) = try_skill(at("Corridor"), skill, (), "obs[0] == 1", [1])
    assert (episode.success, episode.error) == (True, "")


def test_episodes_begin_in_snapshots_of_a_hosted_environment(tmp_path):
    starts = write(tmp_path / "starts", [StartState.of(1, snapshot=bytes([3, 9])), StartState.of(2, snapshot=bytes([1, 4]))])
    with WorkerPool(at("Restorable", starts=starts), success="obs[0] >= 5", environments=2) as pool:
        assert pool.reset([0, 1]).obs.tolist() == [[3, 9], [1, 4]]


def test_what_cannot_be_made_says_by_which_interpreter_and_why():
    with pytest.raises(
        EnvironmentUnavailable, match=r"MountainCart-v0.*cannot be made by .*python.*nearest registered: .*'MountainCar-v0'"
    ):
        describe(Environment(id="MountainCart-v0", host=QUICK))
    with pytest.raises(EnvironmentUnavailable, match=r"does not take kwargs \{'colour': 1\}"):
        describe(at("Corridor", kwargs={"colour": 1}))
    with pytest.raises(EnvironmentUnavailable, match="host's Python '/no/such/python' cannot be started"):
        describe(at("Corridor", Host(python="/no/such/python")))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"python": "x", "address": "tcp://127.0.0.1:1"}, "leave out python"),
        ({"keys": "x"}, "belong to an address"),
        ({"step_s": 0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_told(settings, says):
    with pytest.raises(ValidationError, match=says):
        Host(**settings)


@pytest.mark.skipif(not OLD_PYTHON, reason="RLGPT_OLD_PYTHON names no interpreter with numpy, msgpack, pyzmq and an old gym")
def test_old_interpreter_without_rlgpt_hosts_environments_of_its_own_gym():
    version = subprocess.run([OLD_PYTHON, "-c", "import gym; print(gym.__version__)"], capture_output=True, text=True, check=True).stdout
    host = Host(python=OLD_PYTHON, path=(HERE,))
    assert describe(Environment(id="CartPole-v1", host=host)).max_episode_steps == 500
    assert version
    balance = "for _ in range(20):\n        obs, info = yield int(obs[2] + 0.3 * obs[3] > 0)"
    skill = Skill(name="balance", source=f"def balance(obs, info):\n    {balance}\n", max_steps=20)
    episodes = try_skill(Environment(id="CartPole-v1", host=host), skill, (), "steps >= 20", [1, 2])
    assert [(episode.success, episode.error) for episode in episodes] == [(True, "")] * 2


# ---------------------------------------------------------------- hosts that go wrong


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("raise", "the environment failed in step 2: RuntimeError: the axle broke"),
        ("die", "its host was lost: it ended with status 7"),
        ("hang", "its host was lost: no end of the environment's step within 1 s"),
        ("hang in C", "HostLost: the host of 'foreign:Trap' is lost: no answer to step within"),
    ],
)
def test_environment_that_goes_wrong_ends_its_episode_with_the_reason_and_the_next_one_plays(what, says):
    with WorkerPool(at("Trap", kwargs={"what": what}), success="False", environments=2) as pool:
        pool.reset([1000, 1])
        pool.step([RIGHT, RIGHT], [1, 2])
        step = pool.step([TRAP, TRAP], [1, 2])
        assert says in step.faults[0]
        assert step.faults[1] == ""
        assert step.truncated.tolist() == [True, False]
        assert step.obs.tolist() == [[0, 1], [1, 3]]
        assert pool.step([RIGHT, RIGHT], [1, 2]).faults == ("", "")


def test_host_that_dies_is_no_fault_of_the_skill_that_was_called():
    skill = Skill(name="spring", source="def spring(obs, info):\n    yield 2\n", max_steps=2)
    with WorkerPool(at("Trap", kwargs={"what": "die"}), success="False", environments=1, skills=[skill]) as pool:
        pool.reset([1000])
        for _ in range(4):
            assert "its host was lost" in pool.step([Call(0)], [1000]).faults[0]
        assert pool.quarantined == {}


def test_killed_worker_leaves_its_host_to_the_next_one_who_finds_it_reset():
    hang = Skill(name="hang", source="def hang(obs, info):\n    yield 1\n    max(iter(int, 1))\n", max_steps=5)
    with WorkerPool(at("Corridor"), success="False", environments=1, skills=[hang], deadline_s=0.5) as pool:
        pool.reset([1])
        before = hosts_of(pool)
        step = pool.step([Call(0)], [4])
        assert step.faults == ("skill 'hang' lost its worker: no answer within 0.5 s",)
        assert step.obs.tolist() == [[0, 4]]
        assert hosts_of(pool) == before


def test_parent_that_is_killed_leaves_no_host():
    code = (
        "import sys, time; from rlgpt.bus.task import *; from rlgpt.envs.pool import WorkerPool\n"
        "p = WorkerPool(Environment(id='foreign:Corridor', host=Host(path=(sys.argv[1],))), success='True', environments=2)\n"
        "p.reset([1, 2])\n"
        "print(*[s.process.pid for s in p._crew._zygote._hosts._slots.slots], flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code, HERE], stdout=subprocess.PIPE, text=True) as parent:
        descriptors = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    assert len(descriptors) == 2
    deadline = time.monotonic() + 150
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0], "a host outlived the run"


# ---------------------------------------------------------------- hosts that lie

OPENED = {
    "spaces": [
        {"type": "Box", "shape": [2], "dtype": "float32", "low": -1.0, "high": 1.0},
        {"type": "Discrete", "n": 3, "start": 0},
    ],
    "limit": 9,
    "id": "x",
}
SEEN = {"info": {}, "rest": []}
STEPPED = {**SEEN, "reward": 1.0, "terminated": False, "truncated": False}
WAITS = {"start_s": 0.2, "reset_s": 0.2, "step_s": 0.2}


@pytest.fixture
def playing(monkeypatch):
    """A proxy whose host answers with what the test says: (head, body) a request."""
    monkeypatch.setattr("rlgpt.envs.hosted.MARGIN_S", 0.2)
    ends = []

    def play(*answers):
        ours, theirs = socket.socketpair()
        ends.extend([ours, theirs])

        def answer():
            stream = Stream(theirs)
            for number, (head, body) in enumerate(answers, start=1):
                try:
                    stream.receive(time.monotonic() + 5)
                    stream.send(head if isinstance(head, bytes) else pack({"n": number, **head}), (body,) if body else ())
                except FrameError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        return connect(ours, "x", WAITS, None)

    yield play
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((STEPPED, b"1234567"), "7 bytes where 8 were due"),
        ((STEPPED, b"x" * 800), "a message of .* bytes; at most"),
        (({**STEPPED, "n": 17}, b"12345678"), "numbered 17 where 3 was due"),
        (({**STEPPED, "reward": "much"}, b"12345678"), "outcome that cannot be"),
        (({**STEPPED, "terminated": 2}, b"12345678"), "outcome that cannot be"),
        (({**STEPPED, "rest": [1]}, b"12345678"), "1 values beside the arrays where 0 were due"),
        (({**STEPPED, "info": []}, b"12345678"), "or no info"),
        ((b"\xc1", b""), "not a message"),
        ((msgpack.packb([1]), b""), "a map, not list"),
        ((pack({"n": 3, "error": "boom", "lost": True}), b""), "is lost: boom"),
    ],
)
def test_host_that_lies_is_not_believed(playing, answer, says):
    env = playing((OPENED, b""), (SEEN, np.zeros(2, np.float32).tobytes()), answer)
    env.reset(seed=1)
    with pytest.raises(HostLost, match=says):
        env.step(1)
    with pytest.raises(HostLost, match=says):
        env.reset(seed=2)


def test_host_that_says_nothing_is_given_up_at_its_deadline(playing):
    env = playing((OPENED, b""))
    with pytest.raises(HostLost, match=r"no answer to reset within|closed"):
        env.reset(seed=1)


@pytest.mark.parametrize(
    "space",
    [
        {"type": "Box", "shape": [1 << 40], "dtype": "float32", "low": 0.0, "high": 1.0},
        {"type": "Box", "shape": [2], "dtype": "object", "low": 0.0, "high": 1.0},
        {"type": "Box", "shape": [2], "dtype": "float32", "low": b"short", "high": 1.0},
        {"type": "Box", "shape": [-1], "dtype": "float32", "low": 0.0, "high": 1.0},
        {"type": "Discrete", "n": 0, "start": 0},
        {"type": "MultiDiscrete", "shape": [2], "nvec": [3], "start": [0, 0], "dtype": "int64"},
        {"type": "Dict", "spaces": [["a\x1b[2J", {"type": "Discrete", "n": 2, "start": 0}]]},
        {"type": "Gizmo"},
        [],
    ],
)
def test_space_that_cannot_be_is_refused(space):
    with pytest.raises(EnvironmentUnsupported, match="in a way that cannot be"):
        checked(space)


def test_space_nested_without_end_is_refused():
    space = {"type": "Discrete", "n": 2, "start": 0}
    for _ in range(50):
        space = {"type": "Tuple", "spaces": [space]}
    with pytest.raises(EnvironmentUnsupported):
        checked(space)


@pytest.mark.parametrize(
    "head",
    [
        msgpack.packb({"x": msgpack.ExtType(1, msgpack.packb(["|O", [1], b"12345678"]))}),
        msgpack.packb({"x": msgpack.ExtType(1, msgpack.packb(["<f8", [1 << 40], b""]))}),
        msgpack.packb({"x": msgpack.ExtType(1, msgpack.packb(["<f8", [3], b"12345678"]))}),
        msgpack.packb({"x": msgpack.ExtType(2, msgpack.packb([[1 << 20], ["a" * 1000] + [""] * (1 << 20)]))}),
        msgpack.packb({"x": msgpack.ExtType(9, b"")}),
        b"\x81" * 2000,
        b"",
    ],
)
def test_message_that_is_none_is_an_error_and_nothing_worse(head):
    with pytest.raises(FrameError):
        unpack(head)


def test_pictures_cross_in_one_piece_and_small_messages_one_after_the_other():
    ours, theirs = socket.socketpair()
    picture = np.random.default_rng(0).integers(0, 255, 3_000_000, np.uint8)
    sender = threading.Thread(target=lambda: [Stream(ours).send(pack({"i": i}), (picture[i:],)) for i in range(3)])
    sender.start()
    stream = Stream(theirs)
    for i in range(3):
        head, body = stream.receive(time.monotonic() + 10)
        assert head == {"i": i}
        assert bytes(body) == picture[i:].tobytes()
    sender.join()
    with pytest.raises(Late):
        stream.receive(time.monotonic() + 0.01)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("data", [b"", b"1234567", np.array([3]).tobytes(), np.array([-1]).tobytes(), np.array([np.nan]).tobytes()])
def test_action_that_is_none_does_not_reach_the_environment(data):
    with pytest.raises(ValueError, match="action"):
        read_action({"type": "Discrete", "n": 3, "start": 0}, data)
    with pytest.raises(ValueError, match=r"action|buffer|reshape"):
        read_action({"type": "Box", "shape": [1], "dtype": "float64", "low": 0.5, "high": 1.0}, data)


# ---------------------------------------------------------------- hosts on other machines


@pytest.fixture
def served(tmp_path):
    """Start `serve` as an old interpreter without rlgpt would, with keys; yields a function that gives its process and address."""
    running = []
    make_broker(tmp_path / "keys")
    player = make_client(tmp_path / "keys", "player")

    def serve(name: str = "foreign:Corridor", *options: str, bind: str = "tcp://127.0.0.1:0") -> tuple[subprocess.Popen, Host]:
        command = [sys.executable, "-I", "-B", str(Path(hosting).parent), "serve", name, "--bind", bind, "--path", HERE]
        process = subprocess.Popen([*command, "--keys", str(tmp_path / "keys"), *options], stdout=subprocess.PIPE, text=True)
        running.append(process)
        address = process.stdout.readline().partition(" at ")[2].partition(",")[0]
        return process, Host(address=address, keys=str(player), start_s=5, reset_s=2, step_s=1)

    yield serve
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_environment_on_another_machine_plays_and_replays(served):
    _, host = served("foreign:Corridor", "--slots", "2")
    with WorkerPool(at("Corridor", host), success="obs[0] >= 5", environments=1, record=True) as pool:
        pool.reset([7])
        ends = [pool.step([RIGHT], [1]).ended[0] for _ in range(5)]
    assert (ends[-1].success, ends[-1].episode_return, ends[-1].actions.tolist()) == (True, -5.0, [1] * 5)
    again = replay(at("Corridor", host), "obs[0] >= 5", 7, ends[-1].actions)
    assert (again.success, again.episode_return) == (True, -5.0)


def test_host_process_that_is_killed_over_there_is_a_fault_and_the_next_episode_plays(served):
    _, host = served("foreign:Trap", "--kwargs", '{"what": "die"}')
    environment = at("Trap", host, kwargs={"what": "die"})
    with WorkerPool(environment, success="False", environments=1) as pool:
        pool.reset([1000])
        step = pool.step([TRAP], [1])
        assert "its host was lost: tcp://" in step.faults[0]
        assert "it ended with status 7" in step.faults[0]
        assert step.obs.tolist() == [[0, 1]]
        assert pool.step([RIGHT], [1]).faults == ("",)


def test_server_that_is_gone_is_told_within_its_deadline(served):
    process, host = served()
    process.kill()
    process.wait()
    with pytest.raises(HostLost, match=r"no sign of life at tcp://.*is `rlgpt host` running"):
        describe(at("Corridor", host.model_copy(update={"start_s": 1.0})))


def test_slot_of_a_player_that_was_killed_goes_to_the_one_in_line(served):
    _, host = served("foreign:Corridor", "--silence-s", "3")
    code = (
        "import sys, time; from rlgpt.bus.task import *; from rlgpt.envs.hosts import open_hosts\n"
        "h = open_hosts(Environment(id='foreign:Corridor', host=Host(address=sys.argv[1], keys=sys.argv[2]))); lease = h.lease()\n"
        "while lease.state != 'ready': time.sleep(0.01)\n"
        "print('ready', flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code, host.address, host.keys], stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout.readline() == "ready\n"
        player.kill()
    assert describe(at("Corridor", host.model_copy(update={"start_s": 40.0}))).id == "foreign:Corridor"


def test_slot_whose_player_left_in_the_middle_of_a_step_does_not_keep_the_others_waiting(served):
    _, host = served("foreign:Trap", "--slots", "2", "--kwargs", '{"what": "hang"}')
    environment = at("Trap", host.model_copy(update={"step_s": 600.0}), kwargs={"what": "hang"})
    with WorkerPool(environment, success="False", environments=1) as pool:
        pool.reset([1000])
        busy = pool._crew.workers[0]
        busy.views.asked.write([PRIMITIVE], [0], [1001])
        busy.views.action[:] = 2
        busy.ring()
        busy.kill()
        hosts = open_hosts(environment)
        second, deadline = hosts.lease(), time.monotonic() + 150
        while second.state != "ready" and time.monotonic() < deadline:
            select.select([], [], [], 0.01)
        assert second.state == "ready", "it waited for a step that nobody wants any more"
        second.release()
        hosts.close()


def test_key_that_is_not_allowed_gets_no_slot(served, tmp_path):
    _, host = served()
    stranger = tmp_path / "strangers"
    make_broker(stranger)
    (stranger / "broker.json").write_bytes((tmp_path / "keys" / "broker.json").read_bytes())
    keys = make_client(stranger, "player")
    with pytest.raises(HostLost, match="no sign of life"):
        describe(at("Corridor", host.model_copy(update={"keys": str(keys), "start_s": 1.0})))


def test_other_environment_than_the_one_served_is_refused_and_says_which_it_is(served):
    _, host = served()
    with pytest.raises(HostLost, match=r"this host serves 'foreign:Corridor' with kwargs \{\}.*not 'foreign:Trap'"):
        describe(at("Trap", host, kwargs={"what": "die"}))


def test_address_beyond_this_machine_needs_keys_on_both_sides():
    with pytest.raises(HostLost, match="needs keys"):
        describe(at("Corridor", Host(address="tcp://203.0.113.7:7000")))
    command = [
        sys.executable,
        "-I",
        "-B",
        str(Path(hosting).parent),
        "serve",
        "foreign:Corridor",
        "--path",
        HERE,
        "--bind",
        "tcp://0.0.0.0:0",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert refused.returncode == 1
    assert "needs keys: --keys FOLDER" in refused.stderr


def test_corridor_is_what_these_tests_think_it_is():
    corridor = Corridor()
    corridor.seed(13)
    assert corridor.reset().tolist() == [0, 3]
