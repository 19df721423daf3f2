"""Skills: Python generator functions a language model wrote. Compiled and run inside locked workers only.

    def name(obs, info):            # yields an action, receives what followed
        obs, info = yield ACTION

    def can_run(obs, info): ...     # optional: whether a call makes sense now

Every skill has a namespace of its own. In it: the allowed imports (`np` and `math` already bound), the constants of the action
names, and the other skills: `obs, info = yield from other(obs, info)`, each still bounded by its own `max_steps`. Where the environment
has `memory: true`, `memory` is a mapping that all skills share, and that is empty at the beginning of every episode. A learned skill finds
its network as `policy` (see `envs/learned.py`).
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import math
import re
import traceback
from collections import UserDict
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from rlgpt.envs.errors import SkillInvalid
from rlgpt.envs.learned import LearnedPolicy, Network
from rlgpt.envs.space import SpaceData
from rlgpt.envs.words import clip

Play = Generator[Any, tuple[Any, dict[str, Any]], Any]
MAX_SOURCE = 100_000
LAZY = """numpy.random numpy.linalg numpy.fft numpy.ma numpy.polynomial encodings.ascii encodings.latin_1 encodings.idna unicodedata
_strptime collections.abc fractions decimal statistics heapq bisect itertools functools"""
_REMOVED = ("open", "input", "exec", "eval", "compile", "breakpoint", "exit", "quit", "help", "__import__")


class Memory(UserDict[Any, Any]):
    """What skills know as `memory`, where the environment allows one: its `data` is the mapping of the episode under way."""


class SkillTimeout(BaseException):
    """Raised inside a skill at its soft deadline; a BaseException, so that `except Exception` does not swallow it."""


@dataclass
class Calls:
    """The calls a running skill makes of others.

    callee       name of the skill it has called and that runs now, the outermost one; empty while its own code runs
    begun        how many such calls have begun
    interrupted  an interrupt held after the last step: the call under way ends with it
    moment       at which the decision under way began: (seed of the episode, environment steps), a new object for every decision
    """

    callee: str = ""
    begun: int = 0
    interrupted: bool = False
    moment: tuple[int, int] = (0, 0)

    def enter(self, name: str) -> bool:
        """A call begins; whether it is an outermost one, which has to `leave`."""
        if self.callee:
            return False
        self.callee, self.begun = name, self.begun + 1
        return True

    def leave(self) -> None:
        """The outermost call has ended."""
        self.callee = ""


@dataclass(frozen=True)
class CompiledSkill:
    """A skill ready to be called. `play(obs, info)` makes the generator of one call; `can_run` is None if the skill has none.

    whole  an interrupt ends the call it has made of another skill, not its own; `calls` says so to that one
    """

    name: str
    max_steps: int
    play: Callable[[Any, dict[str, Any]], Play]
    can_run: Callable[[Any, dict[str, Any]], Any] | None
    whole: bool = False
    calls: Calls = field(default_factory=Calls)


@dataclass(frozen=True)
class SkillSource:
    """A skill as it travels to a worker; the fields are those of `parts.Skill`, and `network` the bytes of a learned one's policy."""

    name: str
    source: str
    max_steps: int
    whole: bool = False
    network: bytes | None = None


def compile_skills(
    skills: Iterable[SkillSource],
    imports: Iterable[str],
    constants: Mapping[str, Any],
    calls: Calls | None = None,
    spaces: tuple[SpaceData, SpaceData] | None = None,
) -> list[CompiledSkill]:
    """Compile skills that may call each other, noted in `calls`. Raises SkillInvalid with the skill's name and, if known, line.

    spaces  of observations and actions, as `space.describe` tells them; learned skills need them
    """
    calls = calls or Calls()
    allowed, others = tuple(imports), dict[str, Callable[..., Any]]()
    compiled, policies = [], list[LearnedPolicy]()
    for skill in skills:
        namespace = _namespace(skill.name, allowed, constants)
        if skill.network is not None:
            policies.append(_policy(skill, spaces, calls))
            namespace |= {"policy": policies[-1], "np": np, "math": math}  # its can_run is an expression, which knows these
        function, can_run = _define(skill, allowed, namespace)
        compiled.append((CompiledSkill(skill.name, skill.max_steps, function, can_run, skill.whole, calls), namespace))
        others[skill.name] = _bounded(skill.name, function, skill.max_steps, calls)
    for skill_, namespace in compiled:
        for name, call in others.items():
            if name != skill_.name:
                namespace.setdefault(name, call)
    callable_ = {skill_.name: (others[skill_.name], skill_.can_run) for skill_, _ in compiled}
    for policy in policies:
        policy.bind(callable_)
    return [skill_ for skill_, _ in compiled]


def _policy(skill: SkillSource, spaces: tuple[SpaceData, SpaceData] | None, calls: Calls) -> LearnedPolicy:
    if spaces is None or skill.network is None:
        raise SkillInvalid(f"skill {skill.name!r} was learned, and can only be run where the spaces of its environment are known")
    try:
        return LearnedPolicy(Network.unpack(skill.network), *spaces, lambda: calls.moment)
    except SkillInvalid as error:
        raise SkillInvalid(f"skill {skill.name!r}: {error}") from None


def error_words(error: BaseException, limit: int = 1200) -> str:
    """An error that left a skill: its type, text, and the skill's own lines it passed through, the innermost last."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = f"{type(error).__name__} (its text cannot be had)"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("<skill ")]
    where = "; ".join(f"line {frame.lineno} of {frame.name}: {(frame.line or '').strip()}" for frame in lines[-4:])
    return clip(f"{text} ({where})" if where else text, limit)


def _define(
    skill: SkillSource, allowed: tuple[str, ...], namespace: dict[str, Any]
) -> tuple[Callable[..., Play], Callable[..., Any] | None]:
    code = _parse(skill, allowed)
    filename = f"<skill {skill.name}>"
    lines = skill.source.splitlines(keepends=True)
    linecache.cache[filename] = (len(skill.source), None, lines, filename)
    try:
        exec(code, namespace)  # noqa: S102  this process is locked; that is what it is for
    except Exception as error:
        raise SkillInvalid(f"skill {skill.name!r} fails when it is defined: {error_words(error)}", _line(error, filename)) from None
    function, can_run = namespace.get(skill.name), namespace.get("can_run")
    if not callable(function):
        raise SkillInvalid(f"skill {skill.name!r} defines no function of that name")
    if not inspect.isgeneratorfunction(function):
        raise SkillInvalid(f"{skill.name}(obs, info) is no generator function: it has to `yield` actions", _first_line(function))
    for callee, role in ((function, skill.name), (can_run, "can_run")):
        if callee is not None and not _takes_two(callee):
            raise SkillInvalid(f"{role} of skill {skill.name!r} has to take exactly (obs, info)", _first_line(callee))
    return function, can_run


def _parse(skill: SkillSource, allowed: tuple[str, ...]) -> CodeType:
    if len(skill.source) > MAX_SOURCE:
        raise SkillInvalid(f"skill {skill.name!r} has {len(skill.source)} characters; at most {MAX_SOURCE}")
    try:
        tree = ast.parse(skill.source)
        _check_imports(tree, skill.name, allowed)
        return compile(tree, f"<skill {skill.name}>", "exec", dont_inherit=True)
    except SyntaxError as error:
        text = f": {error.text.strip()}" if error.text else ""
        raise SkillInvalid(
            f"skill {skill.name!r}: {type(error).__name__} in line {error.lineno}: {error.msg}{text}", error.lineno
        ) from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise SkillInvalid(f"skill {skill.name!r} cannot be parsed: {type(error).__name__}: {error}") from None


def _check_imports(tree: ast.Module, name: str, allowed: tuple[str, ...]) -> None:
    # Advice to the author with a line number, before anything runs. The lock is what keeps code in, not this.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "."]
        else:
            continue
        for module in modules:
            if not _may_import(module, allowed):
                raise SkillInvalid(
                    f"skill {name!r}, line {node.lineno}: it may not import {module!r}, only {', '.join(allowed)}", node.lineno
                )


def _namespace(name: str, allowed: tuple[str, ...], constants: Mapping[str, Any]) -> dict[str, Any]:
    def guarded(module: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level or not _may_import(module, allowed):
            raise ImportError(f"a skill may import only {', '.join(allowed)}, not {module!r}")
        return builtins.__import__(module, globals, locals, fromlist, level)

    known = {key: value for key, value in vars(builtins).items() if key not in _REMOVED}
    namespace: dict[str, Any] = {"__builtins__": {**known, "__import__": guarded}, "__name__": f"skill_{name}", **constants}
    if "numpy" in allowed:
        namespace |= {"np": np, "numpy": np}
    if "math" in allowed:
        namespace["math"] = math
    return namespace


def _may_import(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in (*allowed, "__future__"))


def _bounded(name: str, function: Callable[..., Play], max_steps: int, calls: Calls) -> Callable[..., Play]:
    """The function as other skills call it: stopped after `max_steps`, and returning the last (obs, info)."""

    def call(obs: Any, info: dict[str, Any]) -> Play:
        play, latest = function(obs, info), (obs, info)
        outermost = calls.enter(name)
        try:
            action = next(play)
            for _ in range(max_steps):
                latest = yield action
                if calls.interrupted:  # only the outermost call is resumed here; what it has called ends with it
                    break
                action = play.send(latest)
            play.close()
        except StopIteration:
            return latest
        finally:
            if outermost:
                calls.leave()
        return latest

    return call


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


def _first_line(function: Any) -> int | None:
    code = getattr(function, "__code__", None)
    return code.co_firstlineno if code else None


def _line(error: BaseException, filename: str) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    return lines[-1] if lines else None


def preload(imports: Iterable[str]) -> None:
    """Import what skills may import, with the parts Python and numpy would otherwise look for on disk at first use."""
    for module in (*LAZY.split(), *imports):
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module):
            raise SkillInvalid(f"environment.imports names {module!r}, which is no module name")
        try:
            __import__(module)
        except ImportError as error:
            raise SkillInvalid(f"environment.imports names {module!r}, which cannot be imported: {error}") from None
