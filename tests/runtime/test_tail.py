"""`tail`: one stream in the order of time, from files of processes that write, die and start again."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlgpt.runtime import tail
from rlgpt.runtime.run import RunFolder

T0 = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "r")


def write(run: RunFolder, name: str, second: float, event: str, end: str = "\n", **fields):
    time = (T0 + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
    line = {"time": time, "level": "info", "run": run.name, "role": name.split("-", maxsplit=1)[0], "name": name, "event": event, **fields}
    with (run.logs / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line) + end)


def events(lines) -> list[str]:
    return [fields["event"] for _, _, fields in lines]


def test_lines_of_all_processes_come_in_the_order_of_time(run: RunFolder):
    write(run, "slow", 1, "a")
    write(run, "slow", 3, "c")
    write(run, "trainer-1", 2, "b")
    write(run, "trainer-1", 4, "d")
    assert events(tail.history(run)) == ["a", "b", "c", "d"]


def test_raw_line_is_the_line_of_the_file(run: RunFolder):
    write(run, "slow", 1, "a", why="ü")
    assert [raw for _, raw, _ in tail.history(run)] == (run.logs / "slow.jsonl").read_text().splitlines()


def test_line_cut_by_a_kill_is_shown_at_its_place_and_hides_nothing(run: RunFolder):
    write(run, "slow", 1, "a")
    with (run.logs / "slow.jsonl").open("a") as file:
        file.write('{"time": "2026-01-31T12:00:02\n')
    write(run, "slow", 3, "c")
    write(run, "fast", 2, "b")
    assert events(tail.history(run)) == ["a", "unreadable_line", "b", "c"]


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (tail.Filter(), ["planned", "skill_tried", "skill_failed", "crash"]),
        (tail.Filter(roles=["rollout"]), ["skill_tried", "skill_failed"]),
        (tail.Filter(roles=["rollout-2", "slow"]), ["planned", "skill_failed"]),
        (tail.Filter(level="warning"), ["skill_failed", "crash"]),
        (tail.Filter(events=["skill_*", "planned"]), ["planned", "skill_tried", "skill_failed"]),
        (tail.Filter(since=T0 + timedelta(seconds=3)), ["skill_failed", "crash"]),
        (tail.Filter(roles=["rollout"], level="error"), []),
    ],
)
def test_filters_keep_what_they_name(run: RunFolder, wanted: tail.Filter, shown: list[str]):
    write(run, "slow", 1, "planned")
    write(run, "rollout-1", 2, "skill_tried")
    write(run, "rollout-2", 3, "skill_failed", level="warning")
    write(run, "trainer-1", 4, "crash", level="critical")
    assert [fields["event"] for _, _, fields in tail.history(run) if wanted.passes(fields)] == shown


def test_unknown_level_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="--level loud: expected one of debug, info"):
        tail.Filter(level="loud")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("30s", T0 - timedelta(seconds=30)),
        ("1.5h", T0 - timedelta(minutes=90)),
        ("2d", T0 - timedelta(days=2)),
        ("2026-01-31T11:00:00Z", T0 - timedelta(hours=1)),
        ("2026-01-31T13:00:00+02:00", T0 - timedelta(hours=1)),
    ],
)
def test_since_is_a_span_or_a_time(text: str, time: datetime):
    assert tail.since(text, now=T0) == time


@pytest.mark.parametrize(
    ("text", "back"),
    [("12:00", timedelta(0)), ("9:30", timedelta(hours=2, minutes=30)), ("12:00:01", timedelta(hours=23, minutes=59, seconds=59))],
)
def test_since_a_time_of_day_is_the_last_one_there_was(text: str, back: timedelta):
    noon = datetime(2026, 1, 31, 12).astimezone(UTC)  # a local time, as a user types it
    assert tail.since(text, now=noon) == noon - back


def test_level_may_be_written_as_the_log_files_of_others_do():
    assert tail.Filter(level="ERROR").level == "error"


def test_since_that_is_neither_is_refused_with_examples():
    with pytest.raises(ValueError, match=r"--since yesterday: expected .*10m"):
        tail.since("yesterday")


def test_following_shows_new_lines_of_new_processes_too_and_ends_with_the_run(run: RunFolder):
    write(run, "slow", 1, "a")

    def polls():
        write(run, "slow", 2, "b")
        write(run, "fast", 3, "c")
        yield False
        write(run, "fast", 4, "half", end="")
        yield False
        with (run.logs / "fast.jsonl").open("a") as file:
            file.write("\n")
        write(run, "critic", 5, "d")
        yield True

    over = polls()
    assert events(tail.follow(run, ended=lambda: next(over))) == ["a", "b", "c", "half", "d"]


def test_readable_line_has_process_event_fields_and_the_traceback_below():
    line = tail.readable(
        {"time": T0.isoformat(), "level": "error", "run": "r", "role": "fast", "name": "fast", "event": "failed", "n": 2, "why": "a b"}
        | {"exception": "Traceback:\n  boom"}
    )
    first, *rest = line.splitlines()
    assert first.split()[1:] == ["fast", "ERROR", "failed", "n=2", 'why="a', 'b"']
    assert rest == ["    Traceback:", "      boom"]


def test_text_of_models_cannot_command_the_terminal():
    line = tail.readable({"time": T0.isoformat(), "name": "fast", "event": "draft", "why": "\x1b[2J\x1b]0;owned\x07 ok\r\nnext"})
    assert "\x1b" not in line
    assert "\r" not in line
    assert "\n" not in line
