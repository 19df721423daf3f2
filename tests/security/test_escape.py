"""Real attacks, run as skills inside a locked worker by the strongest attacker there is: one whose imports hold ctypes and all the rest.
As whoever runs the tests; `test_ordinary_user.py` has them run again as an ordinary user where that is root.

Every attack either fails with an error, which says what blocked it, or costs the worker. `-s` prints attack -> blocked by what.
"""

from __future__ import annotations

import os
import re
import socket
import textwrap
import threading

import pytest

from rlgpt.bus.parts import Skill
from rlgpt.bus.task import Environment
from rlgpt.envs import lockdown
from rlgpt.envs.errors import WorkerDied
from rlgpt.envs.pool import Limits, Trials

MODULES = (
    *("math", "numpy", "os", "io", "sys", "ctypes", "socket", "select", "subprocess", "threading", "multiprocessing", "signal", "mmap"),
    *("resource", "fcntl", "gc", "time", "shutil", "tempfile", "re", "builtins", "pickle", "errno", "itertools", "asyncio", "importlib"),
)
PRELUDE = f"""
import {", ".join(MODULES)}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p

def check(result):
    if result is None or result < 0 or result == 2**64 - 1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

def call(number, *arguments):
    return check(libc.syscall(number, *arguments))
"""

# name: what it does; {secret} a readable file, {folder} a writable folder, {pid} the test's process, {tcp} and {udp} ports it listens on,
# {path} and {abstract} its Unix sockets. It has won if it ends without an error. Those that would harm the machine if they won are aimed
# so that the kernel would refuse them for another reason, or do nothing: signal 0, a clock that does not exist.
ATTACKS = {
    # ---------------------------------------------------------------- files
    "read a file": "io.open({secret!r}).read()",
    "read a file with os.open": "os.read(os.open({secret!r}, os.O_RDONLY), 10)",
    "read a file with a raw openat": "call(257, -100, {secret!r}.encode(), 0)",
    "read a file with a raw open": "call(2, {secret!r}.encode(), 0)",
    "read a file with openat2": "call(437, -100, {secret!r}.encode(), bytes(24), 24)",
    "read a file through /proc/self/root": "io.open('/proc/self/root' + {secret!r}).read()",
    "open a file by handle": "call(303, -100, {secret!r}.encode(), bytes(136), bytes(8), 0)",
    "write a file": "io.open({folder!r} + '/new', 'w').write('x')",
    "append to a file": "io.open({secret!r}, 'a').write('x')",
    "truncate a file": "os.truncate({secret!r}, 0)",
    "rename a file": "os.rename({secret!r}, {secret!r} + '2')",
    "remove a file": "os.unlink({secret!r})",
    "make a folder": "os.mkdir({folder!r} + '/made')",
    "symlink": "os.symlink('/etc/passwd', {folder!r} + '/link')",
    "hard link": "os.link({secret!r}, {folder!r} + '/link')",
    "chmod": "os.chmod({secret!r}, 0o777)",
    "chown": "os.chown({secret!r}, 0, 0)",
    "stat": "os.stat({secret!r})",
    "list a folder": "os.listdir('/')",
    "change the folder": "os.chdir('/tmp')",
    "chroot": "os.chroot('/tmp')",
    "named pipe": "os.mkfifo({folder!r} + '/pipe')",
    "device node": "os.mknod({folder!r} + '/node', 0o600)",
    "extended attribute": "os.setxattr({secret!r}, 'user.x', b'1')",
    "watch files": "call(253)",
    "mount": "check(libc.mount(b'none', b'/no/such/folder', b'tmpfs', 0, None))",
    "write its own memory": "os.open('/proc/self/mem', os.O_RDWR)",
    "read its own environment": "io.open('/proc/self/environ').read()",
    "import a module from disk": "importlib.import_module('http.server')",
    "load a shared library": "ctypes.CDLL('libutil.so.1')",
    "temporary file": "tempfile.TemporaryFile(dir={folder!r})",
    # ---------------------------------------------------------------- network
    "TCP to the parent": "socket.create_connection(('127.0.0.1', {tcp}))",
    "TCP server": "socket.create_server(('127.0.0.1', 0))",
    "UDP to the parent": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))",
    "Unix socket by path": "socket.socket(socket.AF_UNIX).connect({path!r})",
    "Unix socket, abstract": "socket.socket(socket.AF_UNIX).connect('\\0' + {abstract!r})",
    "socket pair": "socket.socketpair()",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "resolve a name": "socket.getaddrinfo('example.com', 80)",
    "event loop": "asyncio.new_event_loop()",
    "reconnect its own socket": "[call(42, fd, b'\\1\\0' + {path!r}.encode() + b'\\0', 2 + len({path!r}) + 1) for fd in range(3, 10)]",
    "pass a descriptor to the parent": "[call(46, fd, bytes(56), 0) for fd in range(3, 10)]",
    # ---------------------------------------------------------------- processes and threads
    "fork": "os.fork()",
    "vfork": "call(58)",
    "clone": "call(56, 17, 0, 0, 0, 0)",
    "clone3": "call(435, bytes(88), 88)",
    "thread": "threading.Thread(target=print).start()",
    "subprocess": "subprocess.run(['/bin/true'])",
    "execve": "os.execv('/bin/true', ['true'])",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {{}})",
    "libc system": "assert libc.system(b'/bin/true') == 0, 'EPERM: no process'",
    "multiprocessing": "multiprocessing.Process(target=print).start()",
    "os through __mro__": (
        "shell = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0].__init__.__globals__['system']; "
        "assert shell('true') == 0, 'EPERM: no process'"
    ),
    # ---------------------------------------------------------------- the parent and other processes
    "kill the parent": "os.kill({pid}, 0)",
    "kill the zygote": "os.kill(os.getppid(), 0)",
    "kill everybody": "os.kill(-1, 0)",
    "tgkill the parent": "call(234, {pid}, {pid}, 0)",
    "pidfd of the parent": "os.pidfd_open({pid})",
    "ptrace the parent": "check(libc.ptrace(16, {pid}, 0, 0))",
    "read the parent's memory": "call(310, {pid}, bytes(16), 1, bytes(16), 1, 0)",
    "write the parent's memory": "call(311, {pid}, bytes(16), 1, bytes(16), 1, 0)",
    "open the parent's memory": "os.open('/proc/{pid}/mem', os.O_RDONLY)",
    "open the zygote's environment": "io.open(f'/proc/{{os.getppid()}}/environ').read()",
    "limit the parent's resources": "resource.prlimit({pid}, resource.RLIMIT_NOFILE)",
    "pin the parent to a core": "os.sched_setaffinity({pid}, os.sched_getaffinity(0))",
    "renice the parent": "os.setpriority(os.PRIO_PROCESS, {pid}, 0)",
    "signal the parent by F_SETOWN": "[fcntl.fcntl(fd, 8, {pid}) for fd in range(3, 10)]",
    "choose that signal by F_SETSIG": "[fcntl.fcntl(fd, 10, 9) for fd in range(3, 10)]",
    "take over the terminal": "[fcntl.ioctl(fd, 0x5412, b'x') for fd in range(3)]",
    "its own priority": "os.nice(1)",
    # ---------------------------------------------------------------- kernel interfaces
    "io_uring": "call(425, 8, bytes(120))",
    "bpf": "call(321, 0, bytes(72), 72)",
    "perf events": "call(298, bytes(112), 0, -1, -1, 0)",
    "userfaultfd": "call(323, 0)",
    "keyring": "call(248, b'user', b'x', b'y', 1, -3)",
    "System V shared memory": "call(29, 0, 4096, 0o1600)",
    "message queue": "call(240, b'/q', 0o102, 0o600, 0)",
    "memfd": "os.memfd_create('x')",
    "pipe": "os.pipe()",
    "eventfd": "os.eventfd(0)",
    "duplicate a descriptor": "os.dup(0)",
    "load a kernel module": "call(175, bytes(8), 8, b'')",
    "reboot": "call(169, 1, 2, 3)",
    "set the clock": "time.clock_settime(99, 0)",
    "set the host's name": "call(170, b'', 10**6)",
    "swap": "call(168, b'/dev/null')",
    "new namespaces": "call(272, 0x10000000)",
    "32-bit system calls' personality": "call(135, 8)",
    # ---------------------------------------------------------------- memory and the locks themselves
    "writable executable memory": "check(libc.mmap(None, ctypes.c_size_t(4096), 7, 34, -1, ctypes.c_long(0)))",
    "make memory executable": (
        "page = libc.mmap(None, ctypes.c_size_t(4096), 3, 34, -1, ctypes.c_long(0)); check(libc.mprotect(ctypes.c_void_p(page), 4096, 5))"
    ),
    "shrink the shared memory": "[os.ftruncate(fd, 0) for fd in range(3, 10)]",
    "lift its memory limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "regain privileges": "os.setuid(0)",
    "set capabilities": "call(126, bytes(8), bytes(24))",
    "become dumpable": "check(libc.prctl(4, 1, 0, 0, 0))",
    "outlive its parent": "check(libc.prctl(1, 0, 0, 0, 0))",
    "another filter": "call(317, 1, 0, bytes(16))",
    "another ruleset": "call(444, bytes(24), 24, 0)",
    "ignore the soft deadline": "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "block the soft deadline": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])",
    "64 GB at once": "bytearray(1 << 36)",
    "memory bit by bit": "x = [bytearray(1 << 20) for _ in itertools.count()]",
    "nesting without end": "f = lambda: f(); f()",
    # ---------------------------------------------------------------- costs the worker
    "jump to nowhere": "ctypes.CFUNCTYPE(None)(1)()",
    "read address zero": "ctypes.string_at(0)",
    "abort": "libc.abort()",
    "exit": "os._exit(0)",
    "x32 system call": "call(0x40000000)",
    "catastrophic regular expression": "re.match('(a+)+$', 'a' * 60 + 'b')",
    "endless C loop": "max(iter(int, 1))",
    "endless sleep": "libc.sleep(10**6) and libc.sleep(10**6) and max(iter(int, 1))",
}
SLOW = 0.5  # seconds; attacks that hang are killed at this deadline


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """What attacks are aimed at, and afterwards: whether anything of it was touched."""
    folder = tmp_path_factory.mktemp("target")
    secret = folder / "secret"
    secret.write_text("the key")
    reached: list[str] = []
    sockets = {}
    for kind, family, address in (
        ("tcp", socket.AF_INET, ("127.0.0.1", 0)),
        ("path", socket.AF_UNIX, str(folder / "socket")),
        ("abstract", socket.AF_UNIX, f"\0rlgpt-test-{os.getpid()}"),
    ):
        server = sockets[kind] = socket.socket(family)
        server.bind(address)
        server.listen()
        threading.Thread(target=lambda s=server, k=kind: (s.accept(), reached.append(k)), daemon=True).start()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    before = sorted(os.listdir(folder))
    yield {
        "secret": str(secret),
        "folder": str(folder),
        "pid": os.getpid(),
        "tcp": sockets["tcp"].getsockname()[1],
        "udp": udp.getsockname()[1],
        "path": str(folder / "socket"),
        "abstract": f"rlgpt-test-{os.getpid()}",
    }
    assert secret.read_text() == "the key"
    assert sorted(os.listdir(folder)) == before
    assert reached == []
    with pytest.raises(BlockingIOError):
        udp.recv(1)


@pytest.fixture(scope="module")
def trials():
    print(f"\nattacks as uid {os.geteuid()} ({lockdown.probe().words})")
    with Trials(Environment(id="CartPole-v1", imports=MODULES), Limits(memory_mb=128)) as trials:
        yield trials


def blocked_by(error: str) -> str:
    """What stopped an attack, by the error it died of."""
    kinds = {
        r"\[Errno 1\]|Operation not permitted|EPERM|not allowed to raise maximum": "seccomp (EPERM)",
        r"\[Errno 13\]": "Landlock (EACCES)",
        r"\[Errno 38\]": "seccomp (ENOSYS)",
        r"can't start new thread": "seccomp (no thread)",
        r"gaierror": "seccomp (no socket)",
        r"MemoryError|it ran out of memory": "RLIMIT_AS",
        r"RecursionError": "Python's recursion limit",
        r"it crashed \((\w+)\)": "only its own process crashed",
        r"no answer within": "SIGKILL at the deadline",
        r"was stopped: no end": "SIGALRM",
        r"it ended by itself": "only its own process ended",
        r"ModuleNotFoundError|cannot open shared object": "seccomp (no file)",
    }
    return next((what for pattern, what in kinds.items() if re.search(pattern, error)), "")


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_blocked(name, trials, target):
    attack = ATTACKS[name].format(**target)
    source = (
        PRELUDE + f"\ndef attack(obs, info):\n{textwrap.indent(attack, '    ')}\n    raise SystemError('ATTACK SUCCEEDED')\n    yield 0\n"
    )
    try:
        (episode,) = trials.run(Skill(name="attack", source=source, max_steps=1), (), "True", [1], deadline_s=SLOW)
        error = episode.error
        assert not episode.success
    except WorkerDied as death:
        error = str(death)
    why = blocked_by(error)
    print(f"{name:40} -> {why or error}")
    assert "ATTACK SUCCEEDED" not in error, f"{name} got through"
    assert why, f"{name} failed for another reason than a lock: {error}"


def test_secrets_of_the_environment_and_open_descriptors_do_not_reach_a_worker(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    secret = (tmp_path / "key").open("w+")
    secret.write("sk-secret")
    secret.flush()
    os.set_inheritable(secret.fileno(), True)
    body = (
        "import os\n"
        "def look(obs, info):\n"
        "    found = [str(dict(os.environ))]\n"
        "    for fd in range(3, 200):\n"
        "        try: found.append(str(os.pread(fd, 100, 0))); os.lseek(fd, 0, 0); found.append(str(os.read(fd, 100)))\n"
        "        except OSError: pass\n"
        "    assert 'sk-secret' not in ''.join(found), found\n"
        "    yield 0\n"
    )
    with Trials(Environment(id="CartPole-v1", imports=("os",))) as trials:
        (episode,) = trials.run(Skill(name="look", source=body, max_steps=1), (), "True", [1], deadline_s=2)
    assert episode.error == ""
