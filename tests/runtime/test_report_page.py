"""`rlgpt report`: one file that says everything, obeys nothing that a model wrote, and that a browser shows without complaint."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from told_run import LOG, told

from rlgpt.bus.messages import SkillReviewed, TaskSubmitted, TrainingFinished
from rlgpt.bus.parts import Point, Use
from rlgpt.runtime.html import chart, code, sections
from rlgpt.runtime.html.element import Markup, el
from rlgpt.runtime.html.page import page
from rlgpt.runtime.report import Summary
from rlgpt.runtime.run import RunFolder

SCRIPT = "<script>alert(1)</script><img src=http://example.org/x.png onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Elements(HTMLParser):
    """Every element with its attributes, and those never closed."""

    VOID = frozenset({"meta", "img", "link", "br", "hr", "source"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    run = RunFolder.create(tmp_path, "car")
    run.scenario.write_text("name: car\n")
    return Summary(run, told()[0], running=False)


def test_page_has_outcome_plan_code_difference_reviews_curve_usage_and_the_way_to_repeat_it(summary: Summary):
    text = page(summary)
    words = re.sub(r"<[^>]+>", "", text)
    for part in (
        "below target",
        "90% [60%, 98%]",
        "9 of 10 held-out episodes",
        "gain height",
        "Attempt 1",
        "1 of 2 episodes succeed",
        "because",
    ):
        assert part in words
    for part in (
        "The critic: revise",
        "The same code as before",
        "swing25.0%",
        "rlgpt launch scenario.yaml",
        "name: car",
        "verified by replay",
    ):
        assert part in words
    assert '<span class="k">def</span>' in text
    assert "<polyline" in text


def test_report_says_how_each_skill_was_used():
    used = Use(name="swing", skill=True, offered=40, calls=20, failed=2, steps=90, reward=-5, fault="IndexError", aside=True)
    finished = TrainingFinished(plan=1, env_steps=90, score=None, policy=None, learned=(used, Use(name="push", offered=60, calls=40)))
    text = str(sections._uses(finished))
    for cell in ("swing", "learning", "40", "20", "2, set aside", "4.5", "-0.25"):
        assert f">{cell}</td>" in text
    assert "push" not in text
    assert 'title="IndexError"' in text


def test_what_models_wrote_is_text_and_never_markup(summary: Summary, monkeypatch: pytest.MonkeyPatch):
    evil = [
        (second, source, message.model_copy(update={"why": SCRIPT}) if isinstance(message, SkillReviewed) else message)
        for second, source, message in LOG
    ]
    task = next(message for _, _, message in LOG if isinstance(message, TaskSubmitted))
    evil[0] = (0, "launcher", task.model_copy(update={"task": task.task.model_copy(update={"goal": SCRIPT})}))
    monkeypatch.setattr("told_run.LOG", evil)
    text = page(Summary(summary.run, told()[0], running=False))
    tags = [tag for tag, _ in Elements(text).found]
    assert "script" not in tags
    assert "img" not in tags
    assert text.count("&lt;script&gt;alert(1)") >= 2


def test_page_loads_nothing_from_anywhere(summary: Summary):
    elements = Elements(page(summary))
    assert elements.open == []
    for tag, attributes in elements.found:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert any("default-src 'none'" in (attributes.get("content") or "") for _, attributes in elements.found)


def test_films_of_the_run_are_carried_in_the_file(summary: Summary):
    folder = summary.run.path / "videos"
    folder.mkdir()
    (folder / "a_success.gif").write_bytes(b"GIF89a")
    (folder / "notes.txt").write_text("not a film")
    sources = [attributes["src"] for tag, attributes in Elements(page(summary)).found if tag == "img"]
    assert sources == ["data:image/gif;base64,R0lGODlh"]


def test_page_of_a_run_without_a_task_says_so(tmp_path: Path):
    from rlgpt.runtime.story import Story

    text = page(Summary(RunFolder.create(tmp_path, "car"), Story(), running=False))
    assert "had no task yet" in text
    assert Elements(text).open == []


def test_changes_show_what_was_added_and_removed():
    shown = code.changes("a = 1\nb = 2\n", "a = 1\nb = 3\n")
    assert '<span class="del">-b = 2' in shown
    assert '<span class="add">+b = 3' in shown
    assert code.counted("a\nb", "a\nc\nd") == (2, 1)


def test_long_curves_are_pooled_by_their_episodes():
    points = [Point(env_steps=n, episodes=n % 2, success_rate=float(n > 500), mean_return=0.0, steps_per_s=1.0) for n in range(1000)]
    drawn = chart.pooled(points)
    assert len(drawn) <= chart.POINTS
    assert sum(point.episodes for point in drawn) == 500
    assert [point.env_steps for point in drawn] == sorted(point.env_steps for point in drawn)


@pytest.mark.parametrize(("most", "marks"), [(25_000, [0, 5_000, 10_000, 15_000, 20_000, 25_000]), (7, [0, 2, 4, 6]), (1_000_000, None)])
def test_ticks_are_round_and_few(most: int, marks: list[int] | None):
    found = chart.ticks(most)
    assert 3 <= len(found) <= 6
    assert marks is None or found == marks


def test_element_escapes_text_and_attributes_and_not_markup():
    assert el("p", "<b>", Markup("<i></i>"), title='"x" & y') == '<p title="&quot;x&quot; &amp; y">&lt;b&gt;<i></i></p>'


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("size", ["1280,900", "390,800"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_shows_it_without_a_word_on_its_console_and_nothing_is_wider_than_the_window(
    summary: Summary, tmp_path: Path, size, scheme
):
    file = tmp_path / "report.html"
    # The page may run no script; the copy for this test may, to measure itself.
    measure = "<script>document.title='wide '+(document.documentElement.scrollWidth-innerWidth)</script></body>"
    text = page(summary).replace("; style-src", "; script-src &#x27;unsafe-inline&#x27;; style-src").replace("</body>", measure)
    file.write_text(text, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    scheme_flag = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    command = [CHROMIUM, *flags.split(), scheme_flag, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={size}"]
    command += ["--enable-logging=stderr", "--v=0", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    title = re.search(r"<title>wide (-?\d+)</title>", done.stdout)
    assert title is not None
    assert int(title[1]) <= 0
