"""The locks themselves: each layer alone, and what happens on machines that lack one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rlgpt.envs import lockdown
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
    outcomes = dict(line.split() for line in run.stdout.splitlines())
    assert outcomes == dict.fromkeys(("read", "write", "list", "tcp", "signal"), "PermissionError")


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
