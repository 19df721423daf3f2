"""Every question to a language model and how it ended: append-only JSON lines, on disk before an answer is used.

A run keeps one file per process in `<run>/transcript/`. It serves a restarted agent (which reads its own answers back), the report, and,
collected by `record` into one file, the scenario that plays without a network. Lines are found by their logical key, so no order matters.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from rlgpt.agents.llm.redact import Redactor
from rlgpt.bus.errors import Explained

FORMAT = 1
RECORDING = "recorded.jsonl"
"""In a run's transcript folder, the scenario's recorded answers: what could be said, not what was."""

log = structlog.get_logger()


class TranscriptError(Explained):
    """A transcript cannot be read or written; the text names the file and the line."""


class Usage(BaseModel):
    """Tokens of all requests of a question, failed ones included where the endpoint reported them."""

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0


class Line(BaseModel):
    """One question and its end.

    key              the question's logical name, unique in a run
    origin           live, or recorded: the answer came from the scenario's offline transcript
    outcome          `answered`, `repaired`, or the name of the failure, whose `reason` follows
    answer           as parsed; None for a failure
    raw              what the model said, reply by reply, where it was not simply the answer; bounded
    usd              None where no price is known
    seconds          from the question to its end
    asked_at         RFC 3339, UTC
    question_sha256  of system text, question and pictures, to notice that a question has changed since; "" for an answer written by hand
    pictures         sha256 of each picture shown; the pictures themselves are files of the run
    """

    model_config = ConfigDict(frozen=True)

    key: str
    role: str
    model: str
    origin: Literal["live", "recorded"] = "live"
    outcome: str
    reason: str = ""
    system: str = ""
    question: str = ""
    answer: dict[str, Any] | None = None
    raw: tuple[str, ...] = ()
    usage: Usage = Usage()
    usd: float | None = None
    seconds: float = 0.0
    asked_at: str = ""
    question_sha256: str = ""
    pictures: tuple[str, ...] = ()


def question_sha256(system: str, question: str, pictures: Sequence[bytes] = ()) -> str:
    digest = hashlib.sha256(f"{system}\0{question}".encode())
    for picture in pictures:
        digest.update(hashlib.sha256(picture).digest())
    return digest.hexdigest()


def picture_sha256(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()


class Transcript:
    """A process's own file in the run's folder, and a view of everybody's.

    A process that takes over another's work finds its answers too: a key that is not known yet is looked for on disk again.
    """

    def __init__(self, folder: Path, name: str, redactor: Redactor | None = None) -> None:
        self.folder = folder
        self.path = folder / f"{name}.jsonl"
        self.redactor = redactor or Redactor()
        self._lines: dict[str, Line] = {}
        self._read: dict[Path, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _cut_torn_line(self.path)
            self._file = self.path.open("ab")
            _sync_folder(folder)
        except OSError as error:
            raise TranscriptError(f"{self.path} cannot be written: {error.strerror or error}; check the run folder's permissions") from None
        self._refresh()

    def find(self, key: str) -> Line | None:
        """How the question of this key ended in this run, if it was asked; of several, the first."""
        if key not in self._lines:
            self._refresh()
        return self._lines.get(key)

    def add(self, line: Line) -> None:
        """Write a line; it is on disk when this returns."""
        clean = Line.model_validate(self.redactor.data(line.model_dump()))
        self._file.write(_encode(clean))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines.setdefault(line.key, line)

    def close(self) -> None:
        self._file.close()

    def _refresh(self) -> None:
        for path in _said(self.folder):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                # What follows the last line break is still being written by its owner.
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read[path] = self._read.get(path, 0) + len(whole) + 1
            for line in _lines(whole, path):
                self._lines.setdefault(line.key, line)


def read_folder(folder: Path) -> list[Line]:
    """All questions of a run, in the order they were asked, each key once. A line that is being written is left out."""
    found: dict[str, Line] = {}
    for path in _said(folder):
        for line in _lines(path.read_bytes().rpartition(b"\n")[0], path):
            found.setdefault(line.key, line)
    return sorted(found.values(), key=lambda line: line.asked_at)


def read_recording(path: Path) -> dict[str, Line]:
    """The offline transcript of a scenario, by key. Raises TranscriptError for a file or line that cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TranscriptError(f"the recorded answers {path} cannot be read: {error.strerror or error}") from None
    found: dict[str, Line] = {}
    for line in _lines(data, path, strict=True):
        found.setdefault(line.key, line)
    return found


def record(lines: Iterable[Line], to: Path, run: str = "") -> int:
    """Write the questions of a run as an offline transcript: one line each, in the order asked, the answer before the question.

    System texts stand once, in the first line. Raw replies, prices and times are left out, so that two recordings differ only where the
    conversation does. Failed questions are kept: the run then goes the same way. Returns the number of questions.
    """
    kept = list(lines)
    systems = sorted({(line.role, line.system) for line in kept if line.system})
    header = {"rlgpt_transcript": FORMAT, "run": run, "systems": [{"role": role, "text": text} for role, text in systems]}
    bare = [line.model_copy(update={"system": "", "raw": (), "usd": None, "seconds": 0.0, "origin": "live"}) for line in kept]
    part = to.with_name(f"{to.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        file.write(json.dumps(header, ensure_ascii=False).encode() + b"\n")
        file.writelines(_encode(line, first=("key", "outcome", "reason", "answer")) for line in bare)
        file.flush()
        os.fsync(file.fileno())
    part.replace(to)
    return len(kept)


def summary(line: Line) -> str:
    """A question in one line of text."""
    tokens = line.usage.prompt_tokens + line.usage.completion_tokens
    price = "" if line.usd is None else f", ${line.usd:.4f}"
    return f"{line.key}  {line.outcome} ({line.model}, {line.origin}, {tokens} tokens{price})"


def show(line: Line) -> str:
    """A question as Markdown, Python sources of the answer as blocks of code."""
    parts = [f"# {summary(line)}"]
    if line.reason:
        parts.append(line.reason)
    parts += [f"## {title}\n\n{text}" for title, text in (("System", line.system), ("Question", line.question)) if text]
    if line.answer is not None:
        parts.append("## Answer")
        for name, value in line.answer.items():
            is_code = isinstance(value, str) and "\n" in value and "def " in value
            words = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
            parts.append(f"**{name}**\n\n```python\n{words.rstrip()}\n```" if is_code else f"**{name}**: {words}")
    parts += [f"## Reply {number}, as it came\n\n{text}" for number, text in enumerate(line.raw, 1)]
    return "\n\n".join(parts) + "\n"


def holding(line: Line, text: str) -> bool:
    """Whether the text, in letters of either case, stands in the question or in what came of it."""
    return text.lower() in show(line).lower()


def export(lines: Iterable[Line], to: Path) -> None:
    """Write questions and answers whole, as Markdown (.md) or JSON lines (.jsonl). Raises TranscriptError."""
    if to.suffix not in (".md", ".jsonl"):
        raise TranscriptError(f"{to}: a transcript is exported as .md or .jsonl")
    parts = [show(line) if to.suffix == ".md" else line.model_dump_json() for line in lines]
    try:
        to.write_text("\n".join(parts) + "\n", encoding="utf-8")
    except OSError as error:
        raise TranscriptError(f"cannot write {to}: {error.strerror or error}") from error


def _said(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if path.name != RECORDING)


def _encode(line: Line, first: Sequence[str] = ()) -> bytes:
    fields = line.model_dump(mode="json", exclude_defaults=True)
    ordered = {name: fields[name] for name in first if name in fields} | fields
    # A model's text may hold half a surrogate pair, which UTF-8 has no bytes for.
    return json.dumps(ordered, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def _lines(data: bytes, path: Path, *, strict: bool = False) -> Iterator[Line]:
    """The questions among lines of JSON; what is no question (a header) is passed over, what cannot be read is an error or a warning."""
    for number, text in enumerate(data.split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
            if "key" in fields:
                yield Line.model_validate(fields)
        except (ValueError, TypeError, ValidationError) as error:
            why = str(error).splitlines()[0]
            if strict:
                raise TranscriptError(f"{path}, line {number}: not a question of a transcript: {why}") from None
            log.warning("transcript_line_unreadable", file=str(path), line=number, why=why)


def _cut_torn_line(path: Path) -> None:
    """A process killed while it wrote leaves half a line; its question was never used, and is asked again."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            file.truncate(end)
            file.flush()
            os.fsync(file.fileno())
            log.warning("transcript_torn_line_cut", file=str(path), bytes=len(data) - end)


def _sync_folder(folder: Path) -> None:
    """A new file's name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
