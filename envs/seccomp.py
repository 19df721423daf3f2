"""The system calls a locked worker may still make, as a classic-BPF program. x86-64 (measured) and aarch64 (from its table).

An allow-list: everything else fails with EPERM, in particular whatever takes a path, makes a process or thread, a descriptor or a
socket, sends a signal, or changes the locks. See seccomp(2) and linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import platform
import struct

# name: (x86-64, aarch64), None where the call does not exist. The batch step's own calls come first: the filter is read from its top.
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "poll": (7, None),
    "ppoll": (271, 73),
    "setitimer": (38, 103),
    "rt_sigreturn": (15, 139),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "sigaltstack": (131, 132),
    "sched_yield": (24, 124),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_getres": (229, 114),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "restart_syscall": (219, 128),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "rseq": (334, 293),
    "set_robust_list": (273, 99),
    "getrusage": (98, 165),
    "times": (100, 153),
    "uname": (63, 160),
}
MEMORY: dict[str, tuple[int, int]] = {"mmap": (9, 222), "mprotect": (10, 226)}
CLONE3 = 435
SECCOMP = {"x86_64": 317, "aarch64": 277}
ARCHITECTURE = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _DENY, _NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER, _ARCH, _PROTECTION = 0, 4, 16 + 8 * 2  # offsets in struct seccomp_data: nr, arch, args[2]
_X32 = 0x40000000
_PROT_EXEC = 4
_SET_MODE_FILTER, _GET_ACTION_AVAIL, _FLAG_TSYNC = 1, 2, 1


@functools.cache
def program(machine: str) -> bytes:
    """The filter for `machine` as an array of struct sock_filter."""
    audit, column = ARCHITECTURE[machine]
    code: list[bytes] = []

    def add(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        code.append(struct.pack("HBBI", operation, if_true, if_false, value))

    # Another architecture's calls (32-bit code in a 64-bit process) have other numbers: such a process is killed.
    add(_LOAD, _ARCH)
    add(_EQUAL, audit, 1, 0)
    add(_RETURN, _KILL)
    add(_LOAD, _NUMBER)
    if machine == "x86_64":
        add(_AT_LEAST, _X32, 0, 1)
        add(_RETURN, _KILL)
    for numbers in ALLOWED.values():
        number = numbers[column]
        if number is not None:
            add(_EQUAL, number, 0, 1)
            add(_RETURN, _ALLOW)
    for pages in MEMORY.values():  # memory, but never executable memory
        add(_EQUAL, pages[column], 0, 4)
        add(_LOAD, _PROTECTION)
        add(_ANY_BIT, _PROT_EXEC, 0, 1)
        add(_RETURN, _DENY)
        add(_RETURN, _ALLOW)
    # glibc tries clone3 first and falls back to clone, which is denied, only on ENOSYS.
    add(_EQUAL, CLONE3, 0, 1)
    add(_RETURN, _NO_SUCH_CALL)
    add(_RETURN, _DENY)
    return b"".join(code)


def available(libc: ctypes.CDLL) -> bool:
    """Whether this kernel takes filters that answer with an errno."""
    number = SECCOMP.get(platform.machine())
    if number is None:
        return False
    action = struct.pack("I", 0x00050000)
    return int(libc.syscall(number, ctypes.c_uint(_GET_ACTION_AVAIL), ctypes.c_uint(0), action)) == 0


def load(libc: ctypes.CDLL) -> None:
    """Put every thread of this process under the filter, for good; raises OSError."""

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    code = program(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    filters = Program(len(code) // 8, ctypes.addressof(buffer))
    number = SECCOMP[platform.machine()]
    result = libc.syscall(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_FLAG_TSYNC), ctypes.byref(filters))
    if result > 0:
        raise OSError(errno.ESRCH, f"seccomp could not reach thread {result}")
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp refused the filter")
