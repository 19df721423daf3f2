"""Model-written Python looked at before it is run: advice to its author, not security (the workers see to that). Nothing is executed."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from rlgpt.agents.llm.reading import AnswerRejected

GIVEN = ("obs", "info", "start", "previous", "action", "reward", "terminated", "truncated", "steps", "episode_return")
FUNCTIONS = ("abs", "min", "max", "any", "all", "len", "sum", "round", "float", "int", "bool")
EXPRESSION_NAMES = (*GIVEN, "np", "math", *FUNCTIONS)
"""What success and shaping expressions may use; `envs.expression` evaluates them, in the workers."""

LONGEST_EXPRESSION = 2000

LONGEST_SOURCE = 30_000

_FORBIDDEN = {
    "open": "files cannot be used",
    "exec": "code cannot be built at run time",
    "eval": "code cannot be built at run time",
    "compile": "code cannot be built at run time",
    "__import__": "use an import statement",
    "input": "there is nobody to answer",
    "breakpoint": "there is nobody to answer",
    "exit": "use `return`",
    "quit": "use `return`",
    "env": "there is no environment object: an action is taken by `obs, info = yield action`",
}


def check_source(source: str, name: str, imports: Iterable[str]) -> None:
    """`source` defines a generator function `name(obs, info)` and imports nothing but `imports`. Raises AnswerRejected."""
    tree = _parse(source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    function = functions.get(name)
    if function is None:
        if any(isinstance(node, ast.AsyncFunctionDef) and node.name == name for node in tree.body):
            raise AnswerRejected(f"`{name}` must be a plain `def`, not `async def`")
        raise AnswerRejected(f"the source defines no function `{name}` at its top level; it defines {_listed(functions)}")
    _check_parameters(function)
    if not any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(function)):
        raise AnswerRejected(f"`{name}` has no `yield` of its own, so it takes no action: write `obs, info = yield action` for every step")
    if (can_run := functions.get("can_run")) is not None:
        _check_parameters(can_run)
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(can_run)):
            raise AnswerRejected("`can_run` takes no action: it returns True or False and must not `yield`")
    _check_imports(tree, sorted(imports))
    defined = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _FORBIDDEN and node.id not in defined:
            raise AnswerRejected(f"line {node.lineno} uses `{node.id}`: {_FORBIDDEN[node.id]}")


def check_expression(text: str, what: str) -> None:
    """`text` is one Python expression over EXPRESSION_NAMES that depends on at least one of them. Raises AnswerRejected."""
    if len(text) > LONGEST_EXPRESSION:
        raise AnswerRejected(f"{what} has {len(text):,} characters; {LONGEST_EXPRESSION:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise AnswerRejected(f"{what} {text!r} is not one Python expression: {getattr(error, 'msg', error)}") from None
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    for node in names:
        if node.id not in EXPRESSION_NAMES and node.id not in own:
            raise AnswerRejected(
                f"{what} {text!r} uses `{node.id}`, which does not exist there{nearest(node.id, EXPRESSION_NAMES)}; "
                f"the names are {', '.join(EXPRESSION_NAMES)}"
            )
    if any(isinstance(node, ast.Attribute) and node.attr.startswith("_") for node in ast.walk(tree)):
        raise AnswerRejected(f"{what} {text!r} uses a private attribute")
    if not any(node.id in GIVEN for node in names):
        raise AnswerRejected(f"{what} {text!r} does not depend on what happens: use obs, info, reward, steps or the like")


def names_in(expression: str) -> set[str]:
    """Names that a readable expression uses; none where it is empty."""
    if not expression.strip():
        return set()
    return {node.id for node in ast.walk(ast.parse(expression.strip(), mode="eval")) if isinstance(node, ast.Name)}


def check_name(name: str, what: str) -> None:
    """`name` is a Python identifier in lower case. Raises AnswerRejected."""
    if keyword.iskeyword(name):
        raise AnswerRejected(f"{what} {name!r} is a keyword of Python and cannot name a function")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise AnswerRejected(f"{what} {name!r} must be a Python name in lower_case, at most 64 characters, such as 'open_the_gate'")


def renamed_function(source: str, old: str, new: str) -> str:
    """The source with its function `old` called `new` throughout, comments and all."""
    return source if old == new else re.sub(rf"\b{re.escape(old)}\b", new, source)


def nearest(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names in words, empty if none is near."""
    found = get_close_matches(name, sorted(known), n=1)
    return f" (nearest: `{found[0]}`)" if found else ""


def _parse(source: str) -> ast.Module:
    if len(source) > LONGEST_SOURCE:
        raise AnswerRejected(f"the source has {len(source):,} characters; {LONGEST_SOURCE:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        hint = ""
        if "\\n" in source and source.count("\n") < 2:
            hint = ". The source holds the two characters \\ and n where a line should end: in JSON write \\n once, not \\\\n"
        line = (error.text or "").rstrip()
        raise AnswerRejected(f"the source is not valid Python: {error.msg}, line {error.lineno}: {line!r}{hint}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise AnswerRejected(f"the source is not valid Python: {error or type(error).__name__}") from None


def _check_parameters(function: ast.FunctionDef) -> None:
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    needed = names[: len(names) - len(arguments.defaults)]
    if names[:2] != ["obs", "info"] or len(needed) > 2 or any(default is None for default in arguments.kw_defaults):
        raise AnswerRejected(f"`{function.name}` must take exactly (obs, info), it takes ({', '.join(names)})")


def _check_imports(tree: ast.Module, allowed: Sequence[str]) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        else:
            continue
        for module in modules:
            if not any(module == root or module.startswith(f"{root}.") for root in (*allowed, "__future__")):
                raise AnswerRejected(f"line {node.lineno} imports `{module}`; allowed are {_listed(allowed)}")


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions and classes defined inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def _listed(names: Iterable[str]) -> str:
    found = [f"`{name}`" for name in names]
    return ", ".join(found) if found else "nothing"
