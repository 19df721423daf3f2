"""The locks themselves: each layer alone, and what happens on machines that lack one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rlgpt.bus.task import Environment
from rlgpt.envs import lockdown
from rlgpt.envs.errors import SandboxUnavailable
from rlgpt.envs.lockdown import Offer
from rlgpt.envs.pool import Limits, Primitive, WorkerPool
from rlgpt.envs.seccomp import ALLOWED, ARCHITECTURE, program

LANDLOCK_ALONE = """
import os, socket, sys
from rlgpt.envs import lockdown
libc = lockdown._libc()
lockdown._prctl(libc, 38, 1)
server = socket.create_server(("127.0.0.1", 0))
lockdown._deny_paths(libc, lockdown.probe().landlock)
def attempt(name, run):
    try:
        run()
    except OSError as error:
        print(name, type(error).__name__)
    else:
        print(name, "succeeded")
attempt("read", lambda: open("/etc/hostname"))
attempt("write", lambda: open("/tmp/x", "w"))
attempt("list", lambda: os.listdir("/"))
attempt("tcp", lambda: socket.create_connection(server.getsockname()))
attempt("signal", lambda: os.kill(os.getppid(), 0))
"""


@pytest.mark.skipif(lockdown.probe().landlock < 6, reason="Landlock ABI 6 scopes signals")
def test_landlock_alone_denies_files_tcp_and_signals():
    run = subprocess.run([sys.executable, "-c", LANDLOCK_ALONE], capture_output=True, text=True, check=True)
    assert (
        run.stdout.split()
        == ["read", "PermissionError", "write", "PermissionError", "list", "PermissionError", "tcp", "PermissionError", "signal", "PermissionError"]
    )


def test_machine_without_seccomp_is_refused_unless_unlocked_workers_are_asked_for(monkeypatch):
    monkeypatch.setattr(lockdown, "probe", lambda: Offer("linux", "x86_64", seccomp=False, landlock=7, root=False))
    with pytest.raises(SandboxUnavailable, match="no seccomp"):
        lockdown.require(unsafe=False)
    assert "UNLOCKED" in lockdown.require(unsafe=True)


def test_machine_without_landlock_is_warned_of_and_used(monkeypatch):
    monkeypatch.setattr(lockdown, "probe", lambda: Offer("linux", "x86_64", seccomp=True, landlock=0, root=False))
    assert "no Landlock" in lockdown.require(unsafe=False)


def test_other_systems_are_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr(lockdown, "probe", lambda: Offer("darwin", "arm64", seccomp=False, landlock=0, root=False))
    with pytest.raises(SandboxUnavailable, match="Docker"):
        lockdown.require(unsafe=True)


def test_this_machine_has_nothing_to_warn_of():
    offer = lockdown.probe()
    assert offer.system == "linux"
    assert (lockdown.require(unsafe=False) == "") == (offer.landlock > 0)


def test_unlocked_workers_work_and_say_that_they_are():
    with WorkerPool(Environment(id="CartPole-v1"), success="False", environments=1, limits=Limits(unsafe=True)) as pool:
        pool.reset([1])
        assert pool.step([Primitive(0)], [2]).faults == ("",)
        assert pool.locks == ()


@pytest.mark.parametrize("machine", ARCHITECTURE)
def test_filter_decides_as_its_table_says(machine):
    audit, column = ARCHITECTURE[machine]
    allowed = {numbers[column] for numbers in ALLOWED.values() if numbers[column] is not None}
    mapped = {"x86_64": (9, 10), "aarch64": (222, 226)}[machine]
    for number in range(500):
        verdict = "allow" if number in allowed or number in mapped else "enosys" if number == 435 else "deny"
        assert decide(machine, audit, number) == verdict, number
    for number in mapped:
        assert decide(machine, audit, number, protection=5) == "deny"
    assert decide(machine, audit ^ 1, 0) == "kill"
    if machine == "x86_64":
        assert decide(machine, audit, 0x40000000) == "kill"


def decide(machine: str, audit: int, number: int, protection: int = 3) -> str:
    """Interpret the filter as the kernel would: struct sock_filter is (code, jump if true, jump if false, value)."""
    data = {0: number, 4: audit, 32: protection}
    code = np.frombuffer(program(machine), np.dtype([("code", "H"), ("jt", "B"), ("jf", "B"), ("k", "I")]))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, value = code[at].tolist()
        at += 1
        match operation:
            case 0x20:
                accumulator = data[value]
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return {0x7FFF0000: "allow", 0x80000000: "kill", 0x00050001: "deny", 0x00050026: "enosys"}[value]
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")
