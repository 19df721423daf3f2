"""Log files: what every line carries, what never gets in, and what a crash leaves. Each test configures a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

BEGIN = """
import logging, sys, threading, warnings
from pathlib import Path
import structlog
from rlgpt.runtime import logs
logs.configure(Path(sys.argv[1]), run="car-1", role="fast", name="fast-2")
log = structlog.get_logger()
"""


def logged(tmp_path: Path, code: str, *, status: int = 0, **environ: str) -> list[dict]:
    path = tmp_path / "logs" / "fast-2.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, str(path)], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_line_says_when_who_and_what(tmp_path: Path):
    (line,) = logged(tmp_path, "log.info('skill_rejected', skill='chop', attempt=2)")
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "run": "car-1",
        "role": "fast",
        "name": "fast-2",
        "event": "skill_rejected",
        "skill": "chop",
        "attempt": 2,
    }


def test_line_carries_the_id_of_the_message_being_handled(tmp_path: Path):
    code = (
        "structlog.contextvars.bind_contextvars(cause='7/fast/1'); log.info('a'); structlog.contextvars.clear_contextvars(); log.info('b')"
    )
    first, second = logged(tmp_path, code)
    assert first["cause"] == "7/fast/1"
    assert "cause" not in second


def test_field_called_like_the_process_does_not_replace_it(tmp_path: Path):
    (line,) = logged(tmp_path, "log.info('joined', name='critic', role='critic')")
    assert (line["name"], line["name_"], line["role_"]) == ("fast-2", "critic", "critic")


def test_value_of_a_secret_variable_is_nowhere_in_the_file(tmp_path: Path):
    secret = 'pa"ss\\wörd-123'
    code = """
import os
secret = os.environ["MY_PASSWORD_2"]
log.info("a", url=f"https://u:{secret}@h", nested={"list": [secret]}, whole=secret)
try:
    raise ValueError(f"bad {secret}")
except ValueError:
    log.exception("b")
logging.getLogger("lib").warning("c %s", secret)
"""
    lines = logged(tmp_path, code, MY_PASSWORD_2=secret)
    text = (tmp_path / "logs" / "fast-2.jsonl").read_text()
    assert [line["event"].split()[0] for line in lines] == ["a", "b", "c"]
    assert lines[0]["url"] == "https://u:[redacted]@h"
    for spelling in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]):
        assert spelling not in text


def test_field_of_a_secret_name_loses_its_value_but_counts_and_logical_keys_stay(tmp_path: Path):
    code = "log.info('asked', api_key='abc', headers={'Auth-Token': 'x', 'n': 1}, prompt_tokens=12, tokens=3, key='rl-gpt/plan-1/slow')"
    (line,) = logged(tmp_path, code)
    assert line["api_key"] == line["headers"]["Auth-Token"] == "[redacted]"
    assert (line["headers"]["n"], line["prompt_tokens"], line["tokens"], line["key"]) == (1, 12, 3, "rl-gpt/plan-1/slow")


def test_warnings_of_libraries_are_logged_and_their_chatter_is_not(tmp_path: Path):
    lines = logged(
        tmp_path, "logging.getLogger('lib').info('chatter'); logging.getLogger('lib').error('broke %d', 3); warnings.warn('old')"
    )
    assert (lines[0]["level"], lines[0]["event"]) == ("error", "broke 3")
    assert lines[0]["logger"] == "lib"
    assert lines[0]["role"] == "fast"
    assert "old" in lines[1]["event"]


def test_crash_is_in_the_file_with_its_traceback(tmp_path: Path):
    (line,) = logged(tmp_path, "raise RuntimeError('no way')", status=1)
    assert (line["level"], line["event"]) == ("critical", "process_crashed")
    assert "RuntimeError: no way" in line["exception"]


def test_crash_of_a_thread_is_in_the_file(tmp_path: Path):
    code = "t = threading.Thread(target=lambda: 1 / 0, name='pump'); t.start(); t.join()"
    (line,) = logged(tmp_path, code)
    assert (line["event"], line["thread"]) == ("thread_crashed", "pump")
    assert "ZeroDivisionError" in line["exception"]


def test_half_line_of_a_killed_process_does_not_swallow_the_next_one(tmp_path: Path):
    path = tmp_path / "logs" / "fast-2.jsonl"
    path.parent.mkdir()
    path.write_text('{"time": "2026')
    subprocess.run([sys.executable, "-c", BEGIN + "log.info('again')", str(path)], check=True)
    assert json.loads(path.read_text().splitlines()[1])["event"] == "again"


def test_value_that_is_no_json_is_written_as_words(tmp_path: Path):
    (line,) = logged(tmp_path, "log.info('a', path=Path('/x'), odd={1: {2}})")
    assert line["path"] == "/x"
    assert line["odd"] == {"1": "{2}"}
