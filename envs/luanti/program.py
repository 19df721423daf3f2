"""Finding the stock server, and the folder and process it runs in: unprivileged, reachable from nowhere else, announced nowhere."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rlgpt.envs.errors import EnvironmentUnavailable

INSTALL = (
    "apt install minetest-server (Debian 12, Ubuntu), or luanti-server minetest-game; elsewhere see luanti.org, and put the server on PATH"
)
_FOLDERS = ("/usr/lib/minetest", "/usr/lib/luanti", "/usr/games", "/usr/local/bin", "/usr/local/games")
_GAMES = ("/usr/share/games/minetest/games", "/usr/share/minetest/games", "/usr/share/luanti/games", "/usr/share/games/luanti/games")
_SCRIPT = b"#!"


@dataclass(frozen=True)
class Program:
    """The command that runs a server, and the folder of minetest_game."""

    command: tuple[str, ...]
    game: Path


def find() -> Program:
    """Raises EnvironmentUnavailable with what to install."""
    # Debian's script in /usr/games names files in /etc and /var/log that only its service may read; the program itself lies beside them.
    path = os.pathsep.join([*os.environ.get("PATH", "").split(os.pathsep), *_FOLDERS])
    for name, arguments in (("luantiserver", ()), ("minetestserver", ()), ("luanti", ("--server",)), ("minetest", ("--server",))):
        for folder in path.split(os.pathsep):
            found = shutil.which(name, path=folder) if folder else None
            if found and not _is_script(found):
                return Program((found, *arguments), _game())
    raise EnvironmentUnavailable(
        f"the Luanti (Minetest) server is not installed: no luantiserver or minetestserver on PATH. Install: {INSTALL}"
    )


def _is_script(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(2) == _SCRIPT


def _game() -> Path:
    own = [Path.home() / f".{name}/games" for name in ("luanti", "minetest")]
    for folder in (*map(Path, _GAMES), *own):
        if (folder / "minetest_game").is_dir():
            return folder / "minetest_game"
    raise EnvironmentUnavailable(f"the game minetest_game is not installed beside the Luanti server. Install: {INSTALL}")


_CONF = """dedicated_server_step = 0.01
secure.enable_security = true
secure.trusted_mods = rlgpt
mg_name = v7
fixed_map_seed = {world}
num_emerge_threads = 1
bind_address = 127.0.0.1
ipv6_server = false
server_announce = false
max_users = 0
liquid_update = 1000000
time_speed = 0
server_unload_unused_data_timeout = 1000000
server_map_save_interval = 1000000
sqlite_synchronous = 0
emergequeue_limit_total = 8192
emergequeue_limit_generate = 8192
emergequeue_limit_diskonly = 8192
debug_log_level = warning
"""
_WORLD = """gameid = minetest_game
backend = dummy
auth_backend = sqlite3
player_backend = dummy
mod_storage_backend = dummy
enable_damage = true
creative_mode = false
"""


class Process:
    """One server: its folder while it starts, its log, and our end of the socket it inherits."""

    def __init__(self, program: Program, world: int, settings: str) -> None:
        """Raises OSError where it cannot be started."""
        self.folder = Path(tempfile.mkdtemp(prefix="rlgpt-luanti-"))
        home = self.folder / "world"
        mod = home / "worldmods" / "rlgpt"
        shutil.copytree(Path(__file__).parent / "mod", mod, ignore=shutil.ignore_patterns("__pycache__"))
        (home / "world.mt").write_text(_WORLD)
        conf = self.folder / "server.conf"
        conf.write_text(_CONF.format(world=world))
        user = _nobody(self.folder)
        # Read through this descriptor, since the folder goes as soon as the server has what it needs of it.
        self._log = (self.folder / "log.txt").open("w+b")
        self.end, theirs = socket.socketpair()
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        command = [*program.command, "--config", str(conf), "--world", str(home), "--gameid", "minetest_game"]
        command += ["--port", str(_free_port()), "--logfile", "", "--color", "never"]
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        variables |= {"RLGPT_FD": str(theirs.fileno()), "RLGPT_SETTINGS": settings}
        variables["MINETEST_GAME_PATH"] = variables["LUANTI_GAME_PATH"] = str(program.game.parent)
        try:
            with theirs:
                self.process = subprocess.Popen(
                    command,
                    env=variables,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    user=user,
                    group=None if user is None else pwd.getpwuid(user).pw_gid,
                    extra_groups=None if user is None else [],
                )
        except BaseException:
            self.end.close()
            self._log.close()
            self.forget_folder()
            raise

    def memory(self) -> int:
        """Resident bytes; 0 once it has ended."""
        with contextlib.suppress(OSError, IndexError):
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), 1 << 14, max(0, size - (1 << 14))).decode("utf-8", "replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def forget_folder(self) -> None:
        """Remove it: a running server has read its mods and keeps its map in memory, and nobody may live to do it later."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End it and forget its folder."""
        self.end.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()
        self.forget_folder()


def _nobody(folder: Path) -> int | None:
    """The number of the user `nobody`, who is given the folder; None where this is no root, or there is nobody."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        return None
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return user.pw_uid


def _free_port() -> int:
    """A UDP port of this machine that nobody uses; the server insists on one, though no client is ever let in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
