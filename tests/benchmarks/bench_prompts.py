"""What the questions of scenarios cost in tokens, template by template, from their recordings; asks no model.

    python tests/benchmarks/bench_prompts.py [SCENARIO...] [--tokenizer http://127.0.0.1:PORT]      (default: mountain_car)

`estimate` is what a budget is checked with before a question: four characters a token, and the answer's schema. `recorded` is what the
endpoint reported when the answers were recorded. `tokenizer` counts the question with that of a llama.cpp server.
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.request
from pathlib import Path

from rlgpt.agents.answers import (
    DivisionAnswer,
    PlanAnswer,
    PlanReviewAnswer,
    SetUpAnswer,
    SkillAnswer,
    SoloAnswer,
    TrialReviewAnswer,
)
from rlgpt.agents.prompts import tokens

SCENARIOS = Path(__file__).parents[2] / "scenarios"
KINDS = {
    r"/divide/": ("divide", DivisionAnswer),
    r"/solo$": ("solo", SoloAnswer),
    r"/slow$": ("plan", PlanAnswer),
    r"/(fast|solo)/controller/": ("controller", SkillAnswer),
    r"/(fast|solo)/set-up$": ("set_up", SetUpAnswer),
    r"/(fast|solo)/": ("skill", SkillAnswer),
    r"/critic/plan$": ("plan_review", PlanReviewAnswer),
    r"/critic/": ("trial_review", TrialReviewAnswer),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=["mountain_car"], metavar="SCENARIO")
    parser.add_argument("--tokenizer", help="address of a llama.cpp server")
    given = parser.parse_args()
    for scenario in given.scenarios:
        table(scenario, given.tokenizer)


def table(scenario: str, tokenizer: str | None) -> None:
    """One line a recorded question."""
    recording = (SCENARIOS / scenario / "transcript.jsonl").read_text(encoding="utf-8")
    header, *lines = [json.loads(line) for line in recording.splitlines()]
    print(f"\n{scenario}")
    systems = {system["role"]: system["text"] for system in header["systems"]}
    print(f"{'template':<13} {'question':<44} {'estimate':>8} {'recorded':>8} {'tokenizer':>9} {'answer':>7}")
    for line in lines:
        template, answer = next(kind for pattern, kind in KINDS.items() if re.search(pattern, line["key"]))
        texts = (systems[line["role"]], line["question"], json.dumps(answer.model_json_schema()))
        counted = str(count(tokenizer, "\n".join(texts))) if tokenizer else "-"
        usage = line["usage"]
        print(
            f"{template:<13} {line['key']:<44} {sum(map(tokens, texts)):>8} {usage['prompt_tokens']:>8} {counted:>9} "
            f"{usage['completion_tokens']:>7}"
        )


def count(server: str, text: str) -> int:
    request = urllib.request.Request(f"{server}/tokenize", json.dumps({"content": text}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return len(json.load(reply)["tokens"])


if __name__ == "__main__":
    main()
