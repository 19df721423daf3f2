"""A run whose bus is on tcp, with keys; another "machine" is another folder that has nothing of the run but a key file."""

import json
import shutil
import signal
import socket
import stat
from pathlib import Path

from running import ENDLESS, Rlgpt, learning, sets, until

from rlgpt.runtime.run import RunFolder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_trainer_from_another_machine_joins_with_its_key_and_not_without(rlgpt: Rlgpt):
    bus = f"tcp://127.0.0.1:{free_port()}"
    launcher, run = rlgpt.launch(*ENDLESS, bus=bus)
    until("learning", learning(run))
    status, said = rlgpt("keys", "add", "trainer-7")
    assert status == 0, said
    made = run.keys / "trainer-7.json"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    there = rlgpt.folder / "there"
    there.mkdir()
    shutil.copy(made, there / "key.json")
    rlgpt.environ["RLGPT_RUNS"] = str(there / "runs")

    trainer = rlgpt.start("attach", "trainer", "--name", "trainer-7", "--bus", bus, "--keys", "key.json", cwd=there)
    log = there / "runs" / "attached-1" / "logs" / "trainer-7.jsonl"
    until("it is on the bus", lambda: trainer.poll() is not None or (log.exists() and "agent_ready" in log.read_text()))
    trainer.send_signal(signal.SIGINT)
    said, _ = trainer.communicate(timeout=200)
    assert trainer.returncode == 0, said

    liar = rlgpt.start("attach", "trainer", "--name", "trainer-8", "--bus", bus, "--keys", "key.json", cwd=there)
    said, _ = liar.communicate(timeout=200)
    assert liar.returncode != 0
    assert "trainer-8" in said

    rlgpt.environ.pop("RLGPT_RUNS")
    assert rlgpt("keys", "revoke", "trainer-7")[0] == 0
    status, listed = rlgpt("keys", "list")
    assert "trainer-7" not in listed
    kept = (there / "key.json").read_text()
    secret = json.loads(kept)["secret"]
    assert not [log for log in run.logs.iterdir() if secret in log.read_text()]
    assert secret.encode() not in run.journal.read_bytes()
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=200)


def test_a_bus_on_every_interface_is_reached_over_loopback_from_its_own_machine_and_asks_for_keys(tmp_path: Path):
    run = RunFolder.create(tmp_path, "x")
    assert run.write_address("tcp://*:7000") == "tcp://127.0.0.1:7000"
    assert run.bind == "tcp://*:7000"
    assert run.credentials == run.keys / "local.json"
    assert {stat.S_IMODE(path.stat().st_mode) for path in run.keys.iterdir()} == {0o600}


def test_an_address_that_is_none_is_told_before_anything_starts(rlgpt: Rlgpt):
    status, said = rlgpt("launch", "mountain_car", *sets("mode=rl-only"), "--bus", "http://example")
    assert status == 2
    assert "expected tcp://HOST:PORT" in said
