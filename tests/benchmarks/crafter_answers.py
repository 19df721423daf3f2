"""The hand-written answers of the scenario crafter_diamond, made from the controller in `crafter_by_hand.py`. No model wrote them.

    python tests/benchmarks/crafter_answers.py

writes `scenarios/crafter_diamond/transcript.jsonl`, in which they are marked as hand-written, for both modes: the plan, a first draft
without shelter at night, the critic's word, the whole draft, the set-up of the learner, and a controller for code-only.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TRANSCRIPT = HERE.parents[1] / "scenarios" / "crafter_diamond" / "transcript.jsonl"

NAME = "live_and_dig"
PURPOSE = (
    "Decide anew in every step, in this order: strike what is next to the agent and keep stone between it and what "
    "shoots; from dusk on, or "
    "weak or tired, be behind stone and sleep; drink and eat before it hurts; else work towards the diamond (table, wood and stone tools, "
    "iron tools at table and furnace, then the diamond), exploring the mountain for what is not known yet."
)
SUCCESS = "info['achievements']['collect_diamond'] > 0 or info['step'] >= 290 and info['achievements']['make_stone_pickaxe'] > 0"
ENTRY = f'''def {NAME}(obs, info):
    """Go on from wherever the episode is; what is kept in mind is kept over calls."""
    mind = memory.setdefault("mind", Mind())
    while not info["achievements"]["collect_diamond"]:
        obs, info = yield mind.decide(info)
'''
CONTROLLER = f"""def controller(obs, info):
    while not info["achievements"]["collect_diamond"]:
        obs, info = yield from {NAME}(obs, info)
"""
CONTROLLER_AGAIN = f"""def controller(obs, info):
    for _ in range(1000):
        if info["achievements"]["collect_diamond"]:
            return
        obs, info = yield from {NAME}(obs, info)
"""


def source() -> str:
    """The controller as one skill: the toolkit's functions need no import there."""
    text = (HERE / "crafter_by_hand.py").read_text()
    text = re.sub(r'^""".*?"""\n+', "", text, flags=re.DOTALL)
    text = re.sub(r"from rlgpt\.envs\.crafter\.toolkit import \(.*?\)\n+", "\n", text, flags=re.DOTALL)
    whole = re.compile(r"def by_hand\(obs, info\):\n(?:    .*\n)+")
    assert whole.search(text), "crafter_by_hand.py has no `by_hand`"
    return whole.sub(lambda _: ENTRY, text)


def without_night(text: str) -> str:
    """The first draft: the same, but it never takes shelter."""
    order = "(self.defend, self.night, self.live, self.progress)"
    assert order in text, "the controller's parts are named otherwise now"
    return text.replace(order, "(self.defend, self.live, self.progress)")


def answers() -> dict[str, dict[str, Any]]:
    """Every answer by its key."""
    text = source()
    plan = {
        "rationale": "Crafting is a fixed order of things and needs no learning; what ends episodes is hunger, "
        "zombies at night and arrows, "
        "and that has to be looked after between any two steps. So one routine decides anew in every step, danger "
        "first, and remembers what it "
        "is about.",
        "sub_actions": [
            {
                "name": NAME,
                "purpose": PURPOSE,
                "mode": "code",
                "success": SUCCESS,
                "reason": "Exact rules, long chains, and the toolkit knows ways, shelters and pastures; alive at "
                "the end of the first night "
                "with a stone pickaxe is what can be tried in one call from the beginning.",
            }
        ],
    }
    first = {"explanation": "Danger next to the agent, then food and drink, then tools and ore.", "source": without_night(text)}
    again = {
        "explanation": "As before, and before food and tools the night: from dusk on, weak or tired, it goes behind "
        "stone (two cells into rock, "
        "back by one, a stone before the door), sleeps, drinks there, and digs on only where no grass is opened.",
        "source": text,
    }
    revise = {
        "verdict": "revise",
        "why": "It is on open ground when the night comes, where zombies are most between steps 177 and 243 of the "
        "day, and it never sleeps: "
        "nothing in it looks at the hour.",
        "change": "Before food and tools: from step 150 of the day on go to the place `shelter` names, enter, close it, and sleep until "
        "rested.",
    }
    accept = {"verdict": "accept", "why": "It spends the night behind stone and has its tools by then.", "change": ""}
    word = {
        "why": "The routine decides everything; there is hardly anything else to choose.",
        "advice": "What still ends episodes is hunger on days when no cow is found, and zombies and arrows in the open: a part for that, "
        "learned from states where it matters, is what to add.",
    }
    worked = {"name": NAME, "worked": True, "why": "Every episode is made of calls of it."}
    both = {
        "plan-1/slow": plan,
        f"plan-1/fast/{NAME}/attempt-1": first,
        f"plan-1/critic/{NAME}/attempt-1": revise,
        f"plan-1/fast/{NAME}/attempt-2": again,
        f"plan-1/critic/{NAME}/attempt-2": accept,
    }
    why = "The routine can always go on; single actions disturb it."
    set_up = {"primitives": ["noop"], "skills": [NAME], "shaping": "", "ppo": None, "reason": why}
    calls = {"explanation": "Calls the routine again until the diamond is there.", "source": CONTROLLER}
    bounded = {"explanation": "The same with a bound: the loop has nothing to mend.", "source": CONTROLLER_AGAIN}
    said = {"verdict": "accept", "why": "The loop does what it says; what is missed is missed by the routine.", "change": ""}
    controller = {"name": "controller", "worked": True, "why": "It calls the routine, nothing else."}
    return (
        {f"rl-gpt/{key}": answer for key, answer in both.items()}
        | {"rl-gpt/plan-1/fast/set-up": set_up, "rl-gpt/plan-1/critic/plan": {"sub_actions": [worked], **word}}
        | {f"code-only/{key}": answer for key, answer in both.items()}
        | {
            "code-only/plan-1/fast/controller/attempt-1": calls,
            "code-only/plan-1/critic/controller/attempt-1": said,
            "code-only/plan-1/fast/controller/attempt-2": bounded,
            "code-only/plan-1/critic/controller/attempt-2": said,
            "code-only/plan-1/critic/plan": {"sub_actions": [worked, controller], **word},
        }
    )


def lines() -> str:
    """The transcript's text."""
    said = {"model": "hand-written", "outcome": "answered", "question": "", "question_sha256": "", "system": ""}
    entries = [{"key": key, "role": key.split("/")[2], **said, "answer": answer} for key, answer in answers().items()]
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


if __name__ == "__main__":
    TRANSCRIPT.write_text(lines())
