"""A worker locks itself in, for good: after `lock()` it computes and answers its parent, and nothing else. ctypes and the kernel only.

What remains possible inside: forged replies and tampering with its own environments. Scores therefore count only after a replay in a
worker that never saw model-written code. Kernel exploits are out of scope.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass

from rlgpt.envs import seccomp
from rlgpt.envs.errors import SandboxUnavailable

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
# Of its own, and empty: users, mounts, host name, System V IPC, network. See namespaces(7).
_NEW_USER, _NEW_OTHERS = 0x10000000, 0x00020000 | 0x04000000 | 0x08000000 | 0x40000000


@dataclass(frozen=True)
class Offer:
    """What this machine offers for locking workers in. `landlock` is the ABI's number, 0 if there is none."""

    system: str
    machine: str
    seccomp: bool
    landlock: int
    root: bool

    @property
    def words(self) -> str:
        """One line for people."""
        landlock = f"Landlock ABI {self.landlock}" if self.landlock else "no Landlock"
        return f"{self.system} {self.machine}: {'seccomp' if self.seccomp else 'no seccomp'}, {landlock}{', as root' if self.root else ''}"


def probe() -> Offer:
    """Look, change nothing."""
    machine = platform.machine()
    if sys.platform != "linux":
        return Offer(sys.platform, machine, False, 0, False)
    libc = _libc()
    abi = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    return Offer("linux", machine, seccomp.available(libc), max(0, abi), os.geteuid() == 0)


def require(unsafe: bool) -> str:
    """A warning to log before workers start, "" if all is well.

    Raises SandboxUnavailable where workers cannot run at all, or could only run unlocked and `unsafe` does not ask for that.
    """
    offer = probe()
    if offer.system != "linux":
        raise SandboxUnavailable(f"workers need Linux (memfd, seccomp); this is {offer.system}. Run in Docker or, on Windows, in WSL2")
    if unsafe:
        return f"model-written code runs UNLOCKED, with everything this account may do ({offer.words})"
    if not offer.seccomp:
        raise SandboxUnavailable(
            f"this machine has no seccomp filters for {offer.machine} ({offer.words}), so that model-written code cannot be locked in; "
            "use a Linux kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64, or ask for unlocked workers explicitly (unsafe)"
        )
    return "" if offer.landlock else f"no Landlock here; workers are locked by seccomp alone ({offer.words})"


def die_with_parent(parent: int) -> None:
    """SIGKILL this process when process `parent`, which forked it, ends; at once if it has ended already."""
    _prctl(_libc(), _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def lock(memory: int) -> tuple[str, ...]:
    """Lock this single-threaded process in; `memory` is how many bytes it may still allocate. Returns the locks, in words.

    Raises OSError or SandboxUnavailable if a lock does not take; the process must then run nothing untrusted.
    """
    libc, offer, most = _libc(), probe(), _address_space() + memory  # /proc is out of reach afterwards
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    locks = ["no_new_privs", "not dumpable"]
    if offer.landlock:
        _deny_paths(libc, offer.landlock)
        locks.append(f"landlock {offer.landlock}")
    _drop_capabilities(libc)
    _limit_resources(most)
    locks += ["no capabilities", "rlimits"]
    seccomp.load(libc)
    _verify()
    return (*locks, "seccomp")


def enter_namespaces() -> bool:
    """Leave the machine's network, mounts, IPC objects and users for empty ones of our own; whether that is allowed here.

    For the zygote, whose workers are then born there. Containers and some distributions forbid it; a worker's filter shuts the same
    doors, so that nothing is lost without.
    """
    libc = _libc()
    if libc.unshare(ctypes.c_int(_NEW_USER | _NEW_OTHERS)) == 0:
        return True
    return bool(os.geteuid() == 0 and libc.unshare(ctypes.c_int(_NEW_OTHERS)) == 0)


def namespaces_allowed() -> bool:
    """Whether a process of ours may enter namespaces of its own: one is started that tries."""
    if sys.platform != "linux":
        return False
    code = "from rlgpt.envs import lockdown; import sys; sys.exit(not lockdown.enter_namespaces())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False).returncode == 0


def limit_memory(memory: int) -> None:
    """The limits alone, where nothing can be locked: `memory` more bytes, no files, no core dumps."""
    _limit_resources(_address_space() + memory)


def _address_space() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def _limit_resources(address_space: int) -> None:
    """No files, no core dumps, no processes (root ignores the last; seccomp does not), and so much address space, bytes."""
    limits = {
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 16,  # poll() refuses more descriptors than this, and the worker polls two
    }
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _deny_paths(libc: ctypes.CDLL, abi: int) -> None:
    """Landlock with no rule at all: no file, no TCP, no signals or abstract sockets beyond this process. See landlock(7)."""
    # Access rights were added over time: 13 file rights at first, then REFER (2), TRUNCATE (3), IOCTL_DEV (5); TCP bind and
    # connect (4); abstract sockets and signals (6).
    files = (1 << (13 + (abi >= 2) + (abi >= 3) + (abi >= 5))) - 1
    attributes = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    rules = _check(
        libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)), "landlock_create_ruleset"
    )
    _check(libc.syscall(_RESTRICT_SELF, rules, ctypes.c_uint32(0)), "landlock_restrict_self")
    os.close(rules)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    # The bounding set first: dropping from it needs a capability.
    for capability in range(64):
        if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _check(libc.syscall(_CAPSET[platform.machine()], header, bytes(24)), "capset")


def _verify() -> None:
    """The three ways out must be shut, else whatever comes next may not run."""
    for name, attempt in (("open a file", _open_file), ("open a socket", socket.socket), ("start a process", os.fork)):
        try:
            attempt()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise SandboxUnavailable(f"locked, yet `{name}` failed with {error}") from error
        else:
            os._exit(78)  # also ends the child that such a fork would have made


def _open_file() -> None:
    os.close(os.open("/proc/self/status", os.O_RDONLY))


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _prctl(libc: ctypes.CDLL, operation: int, value: int) -> None:
    _check(libc.prctl(operation, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)), f"prctl({operation})")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)
