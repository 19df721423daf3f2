"""Structured logs: one JSON-lines file a process, every line with time, run, role, name, level, event, and the message being handled.

    structlog.get_logger().info("skill_rejected", skill="chop", attempt=2)

`cause` comes from `structlog.contextvars` where the agent binds the id of the message it handles. Lines of the standard library's
logging (warnings and worse of the libraries) and exceptions nobody caught end up in the same file. Secrets never do.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import IO, Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rlgpt.agents.llm.redact import MARK, Redactor

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
# `key` is a question's logical key in the transcript. Counts such as prompt_tokens are numbers, and numbers are not secrets.
HARMLESS_FIELDS = frozenset({"key", "keys"})


_known: list[Redactor] = []
"""Of the log files of this process."""


def hide(secret: str) -> None:
    """From now on this secret, which no variable of the environment holds, is kept out of this process's log."""
    for known in _known:
        known.hide(secret)


def redactor() -> Redactor:
    """Knows the secrets of this process's environment, also where their name merely contains such a word (`OPENAI_API_KEY_2`)."""
    known = Redactor()
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and not value.startswith("/"):
            known.hide(value)
            # In JSON a quote or a letter beyond ASCII is spelt differently.
            known.hide(json.dumps(value)[1:-1])
            known.hide(json.dumps(value, ensure_ascii=False)[1:-1])
    return known


def _without_secret_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _without_secrets(name, value) for name, value in event.items()}


def _without_secrets(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name) and name.lower() not in HARMLESS_FIELDS and not isinstance(value, int | float | None):
        return MARK
    if isinstance(value, Mapping):
        return {str(inner): _without_secrets(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(name, item) for item in value]
    return value


class _LineFile:
    """A file to which whole lines are appended, each in one write, so that a kill cuts at most the last one."""

    def __init__(self, path: Path, secrets: Redactor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._secrets = secrets
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # the process before this one was killed in mid-line

    def write(self, line: str) -> str:
        """Returns the line as written, without secrets."""
        clean = self._secrets.text(line)
        data = (clean + "\n").encode("utf-8", "replace")
        while data:
            data = data[os.write(self._file, data) :]
        return clean


class _Logger:
    """What structlog's bound loggers end in."""

    def __init__(self, file: _LineFile, echo: IO[str] | None) -> None:
        self._file, self._echo = file, echo

    def msg(self, line: str) -> None:
        clean = self._file.write(line)
        if self._echo is not None:
            from rlgpt.runtime.tail import readable

            self._echo.write(readable(json.loads(clean)) + "\n")
            self._echo.flush()

    log = debug = info = warning = error = critical = fatal = msg


def configure(path: Path, *, run: str, role: str, name: str, echo: IO[str] | None = None) -> None:
    """Send every log line of this process to `path`; with `echo`, also there, readable."""
    secrets = redactor()
    _known[:] = [secrets]
    logger = _Logger(_LineFile(path, secrets), echo)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _whose(run, role, name),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _without_secret_fields,
        _in_order,
    ]
    render = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: logger,
    )
    _take_standard_logging(logger, shared, render)
    _take_uncaught()


def _whose(run: str, role: str, name: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # The process's own name wins over a field that happens to be called the same.
        clash = {f"{field}_": event[field] for field in ("run", "role", "name") if field in event}
        return {**event, **clash, "run": run, "role": role, "name": name}

    return add


def _in_order(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """The fields every line has come first, so that a raw file can be read with bare eyes."""
    first = ("time", "level", "run", "role", "name", "event", "cause")
    return {**{field: event[field] for field in first if field in event}, **{k: v for k, v in event.items() if k not in first}}


def _take_standard_logging(logger: _Logger, shared: list[Processor], render: Processor) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                logger.msg(self.format(record))
            except Exception:  # a handler must not raise into the library that logs; logging prints it to stderr, which is kept
                self.handleError(record)

    handler = Handler(level=logging.WARNING)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _take_uncaught() -> None:
    def log_thread(args: threading.ExceptHookArgs) -> None:
        thread = args.thread.name if args.thread else "?"
        if args.exc_value is not None:
            structlog.get_logger().critical("thread_crashed", thread=thread, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def log_process(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            structlog.get_logger().critical("process_crashed", exc_info=(kind, error, trace))
        sys.__excepthook__(kind, error, trace)

    threading.excepthook = log_thread
    sys.excepthook = log_process
