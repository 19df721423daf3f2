"""The system call tables of both machines, against the kernel's own headers and, number by number, against what the filter decides.

Headers are those of linux-libc-dev: `asm-generic/unistd.h`, which every machine has, is aarch64's table; x86-64 has its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rlgpt.envs import lockdown, seccomp
from rlgpt.envs.seccomp import ALLOWED, ARCHITECTURE, CLONE3, MEMORY, SECCOMP, program

INCLUDE = Path("/usr/include")
TABLES = {
    "x86_64": (INCLUDE / "x86_64-linux-gnu/asm/unistd_64.h", Path("/usr/x86_64-linux-gnu/include/asm/unistd_64.h")),
    "aarch64": (INCLUDE / "asm-generic/unistd.h", Path("/usr/aarch64-linux-gnu/include/asm-generic/unistd.h")),
}
COLUMN = {"x86_64": 0, "aarch64": 1}
HIGHEST = 1024  # the highest call of Linux 6.18 is below 500


@pytest.fixture(params=TABLES)
def machine(request):
    return request.param


@pytest.fixture
def numbers(machine):
    """Name -> number, as the kernel's header has them; as asm/unistd.h, asm-generic's defines some by way of __NR3264_name."""
    header = next((path for path in TABLES[machine] if path.exists()), None)
    if header is None:
        pytest.skip(f"no kernel headers of {machine} here (Debian: linux-libc-dev, or linux-libc-dev-arm64-cross)")
    return {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())}


def constants(header: str) -> dict[str, int]:
    path = INCLUDE / header
    if not path.exists():
        pytest.skip(f"no {path} here (Debian: linux-libc-dev)")
    found = re.findall(r"#define\s+(\w+)\s+\(?(0x[0-9a-fA-F]+|\d+)U?\)?", path.read_text())
    return {name: int(value, 0) for name, value in found}


def test_numbers_are_the_kernels_own(machine, numbers):
    column = COLUMN[machine]
    for name, pair in {**ALLOWED, **MEMORY}.items():
        assert pair[column] == numbers.get(name), f"{name} on {machine}"
    assert numbers["seccomp"] == SECCOMP[machine]
    assert numbers["clone3"] == CLONE3
    assert numbers["capset"] == lockdown._CAPSET[machine]
    assert numbers["landlock_create_ruleset"] == lockdown._CREATE_RULESET
    assert numbers["landlock_restrict_self"] == lockdown._RESTRICT_SELF


def test_architecture_is_told_by_the_kernels_audit_number(machine):
    audit, elf = constants("linux/audit.h"), constants("linux/elf-em.h")
    expected = elf[f"EM_{machine.upper()}"] | audit["__AUDIT_ARCH_64BIT"] | audit["__AUDIT_ARCH_LE"]
    assert ARCHITECTURE[machine][0] == expected


def test_prctl_and_seccomp_constants_are_the_kernels_own():
    prctl, filters = constants("linux/prctl.h"), constants("linux/seccomp.h")
    for name in ("PR_SET_PDEATHSIG", "PR_SET_DUMPABLE", "PR_CAPBSET_DROP", "PR_SET_NO_NEW_PRIVS"):
        assert getattr(lockdown, f"_{name}") == prctl[name]
    assert filters["SECCOMP_SET_MODE_FILTER"] == seccomp._SET_MODE_FILTER
    assert filters["SECCOMP_GET_ACTION_AVAIL"] == seccomp._GET_ACTION_AVAIL
    assert filters["SECCOMP_RET_ALLOW"] == seccomp._ALLOW
    assert filters["SECCOMP_RET_KILL_PROCESS"] == seccomp._KILL
    assert filters["SECCOMP_RET_ERRNO"] == seccomp._DENY & 0xFFFF0000 == seccomp._NO_SUCH_CALL & 0xFFFF0000


def test_filter_lets_exactly_the_table_through(machine):
    audit, column = ARCHITECTURE[machine][0], COLUMN[machine]
    allowed = {numbers[column] for numbers in ALLOWED.values()} - {None}
    mapped = {numbers[column] for numbers in MEMORY.values()}
    for number in range(HIGHEST):
        verdict = "allow" if number in allowed | mapped else "enosys" if number == CLONE3 else "deny"
        assert decide(machine, audit, number) == verdict, number
    for number in mapped:  # memory: never executable, whatever else is asked for
        for protection in range(16):
            assert decide(machine, audit, number, protection) == ("deny" if protection & 4 else "allow")


def test_other_architectures_calls_end_the_process(machine):
    audit = ARCHITECTURE[machine][0]
    foreign = {"32-bit x86": 0x40000003, "32-bit arm": 0x40000028, "riscv64": 0xC00000F3, "none": 0}
    others = {name: number for name, (number, _) in ARCHITECTURE.items() if name != machine}
    for other in {**foreign, **others}.values():
        assert {decide(machine, other, number) for number in range(HIGHEST)} == {"kill"}
    beyond = {decide(machine, audit, 0x40000000 + number) for number in range(HIGHEST)}
    assert beyond == {"kill" if machine == "x86_64" else "deny"}  # x32's calls, and no call at all


def test_filter_is_a_program_the_kernel_would_take(machine):
    code = instructions(machine)
    assert len(code) <= 4096
    for at, (operation, if_true, if_false, _) in enumerate(code):
        assert operation in (0x20, 0x15, 0x35, 0x45, 0x06)
        if operation in (0x15, 0x35, 0x45):
            assert at + 1 + max(if_true, if_false) < len(code)
    assert code[-1][0] == 0x06


def instructions(machine: str) -> list[tuple[int, int, int, int]]:
    """struct sock_filter: code, jump if true, jump if false, value."""
    layout = np.dtype([("code", "H"), ("jt", "B"), ("jf", "B"), ("k", "I")])
    return np.frombuffer(program(machine), layout).tolist()


def decide(machine: str, audit: int, number: int, protection: int = 3) -> str:
    """Interpret the filter as the kernel does, on struct seccomp_data: number, architecture, arguments from offset 16 on."""
    data, code = {0: number, 4: audit, 32: protection}, instructions(machine)
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, value = code[at]
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
