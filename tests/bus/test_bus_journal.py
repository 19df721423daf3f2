"""How the log lies on disk: ids as runs, events as segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlgpt.bus import segments
from rlgpt.bus.errors import JournalFailed
from rlgpt.bus.ids import PLAIN, Run, runs, split
from rlgpt.bus.journal import Changes, Journal

ids = st.lists(st.one_of(st.from_regex(r"\A[ab]-[0-9]{1,3}\Z"), st.text(min_size=1, max_size=6)), max_size=30)


@given(ids)
def test_any_ids_are_the_same_ids_after_they_were_runs(some):
    assert [id for run in runs(some) for id in run.ids()] == some


@pytest.mark.parametrize("id", ["", "-", "a-", "17/critic/0", "a-01", "a-٣", "a-²", "a-1 ", "a--", "a-9999999999999999", "5"])
def test_id_that_does_not_end_in_a_plain_number_is_one_by_itself(id):
    assert split(id) == (id, PLAIN)


def test_ids_in_order_are_one_run_and_a_gap_begins_another():
    assert list(runs(["a-1", "a-2", "a-4", "b-5", "b-6"])) == [("a-", 1, 2), ("a-", 4, 1), ("b-", 5, 2)]


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


def write(journal: Journal, *some: str) -> None:
    first = journal.head + 1
    rows = [(seq, "noted", id.encode()) for seq, id in enumerate(some, start=first)]
    found, at = [], first
    for run in runs(some):
        found.append((run, at))
        at += run.many
    journal.commit(Changes(events=rows, ids=found))


@pytest.mark.parametrize("wanted", [("a-", 1, 9), ("a-", 3, 4), ("a-", 4, 1), ("a-", 7, 9), ("b", PLAIN, 1), ("c-", 1, 5), ("a-", 9, 1)])
def test_known_ids_are_found_whatever_part_of_a_run_is_asked_for(journal, wanted):
    written = ["a-2", "a-3", "b", "a-4", "a-7", "a-8"]
    for some in (written[:2], written[2:5], written[5:]):
        write(journal, *some)
    expected = {id: written.index(id) + 1 for id in Run(*wanted).ids() if id in written}
    assert journal.known([Run(*wanted)]) == expected


def test_page_begins_in_the_midst_of_a_segment_and_goes_on_over_the_next(journal):
    for begin in range(0, 1000, 250):
        write(journal, *(f"a-{n}" for n in range(begin, begin + 250)))
    for after in (0, 1, 249, 250, 251, 999, 1000):
        assert [row[0] for row in journal.page(after, 300)] == list(range(after + 1, min(after + 300, 1000) + 1))
        assert [row[0] for row in journal.page(after, 1)] == list(range(after + 1, min(after + 1, 1000) + 1))
    assert journal.body(500) == (500, "noted", b"a-499")
    assert journal.body(1001) is None


def test_large_events_are_segments_of_their_own():
    sizes = [10, 10, segments.BYTES + 1, 10, segments.BYTES // 2, segments.BYTES, 10]
    rows = [(seq, "noted", b"x" * size) for seq, size in enumerate(sizes, start=1)]
    packed = list(segments.pack(rows))
    assert [(first, count) for first, count, _ in packed] == [(1, 2), (3, 1), (4, 2), (6, 1), (7, 1)]
    assert [row for first, _, content in packed for row in segments.unpack(first, content)] == rows


@given(st.sets(st.integers(1, 2000), min_size=1, max_size=50))
def test_events_with_gaps_between_them_keep_their_numbers(numbers):
    rows = [(seq, "noted", str(seq).encode()) for seq in sorted(numbers)]
    packed = list(segments.pack_sparse(rows))
    assert [row for first, _, content in packed for row in segments.unpack(first, content)] == rows


DAMAGED = [b"", b"\x00" * 100, b"\x92\x90", b"\x92\x91\xa1a\x90", b"\x78\x9c", b"\x78\x9cgarbage", b"\x92\x91\xa1a\x91\x01"]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_segment_is_named_and_stops_the_reader(journal, content):
    write(journal, "a-1")
    journal._db.execute("UPDATE segments SET content = ?", (content,))
    with pytest.raises(JournalFailed, match=r"malformed: segment 1:.*damaged"):
        journal.page(0)
    with pytest.raises(JournalFailed, match=r"journal\.sqlite cannot be read"):
        list(Journal.read(journal.path))
