"""The hand-written answers of the bundled Luanti scenarios, made of the functions of `luanti_by_hand.py`.

    python tests/luanti/luanti_answers.py        # writes scenarios/luanti_*/transcript.jsonl

No model gave them: they show what the scenarios, the toolkit and the loops do with good code, offline. Each plan is one skill.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import luanti_by_hand as hand

import rlgpt.scenarios

FOLDER = Path(rlgpt.scenarios.__file__).parent
MODEL = "hand-written"
ACCEPTED = "Written by hand beforehand, like the code: what passes its test is accepted."


@dataclass(frozen=True)
class Part:
    """A task, or a stage of one: the skill that does it, and how it knows."""

    skill: Callable[..., Any]
    success: str
    purpose: str


STONE = Part(hand.make_stone_pickaxe, "info['inventory'].get('stone_pickaxe', 0) >= 1", "Make a stone pickaxe from bare hands.")
IRON = Part(hand.make_iron_pickaxe, "info['inventory'].get('iron_pickaxe', 0) >= 1", "Find and smelt iron, and make an iron pickaxe.")
DIAMOND = Part(hand.find_diamond, "info['inventory'].get('diamond', 0) >= 1", "Sink a shaft and drive tunnels until a diamond is found.")
INGOT = Part(hand.make_iron_ingots, "info['inventory'].get('iron_ingot', 0) >= 1", "Find iron ore and coal, and smelt.")
WOOD = Part(hand.get_logs, "info['inventory'].get('log', 0) >= 3", "Dig trunks until 3 logs are held.")
SCENARIOS = {
    "luanti_wood": (WOOD,),
    "luanti_stone_pickaxe": (STONE,),
    "luanti_iron_ingot": (INGOT,),
    "luanti_steel_pickaxe": (IRON,),
    "luanti_diamond": (STONE, IRON, DIAMOND),
}


def source(skill: Callable[..., Any]) -> str:
    """The skill with every function of the same file that it needs, bare of type hints."""
    own = {name: function for name, function in vars(hand).items() if inspect.isfunction(function) and function.__module__ == hand.__name__}
    needed, open_ = dict[str, str](), [skill.__name__]
    while open_:
        name = open_.pop()
        if name not in needed:
            text = inspect.getsource(own[name]).replace(" -> Play:", ":")
            needed[name] = text
            open_ += [other for other in own if re.search(rf"\b{other}\(", text.partition("\n")[2])]
    return "\n\n".join(needed[name] for name in sorted(needed, key=lambda name: inspect.getsourcelines(own[name])[1]))


def controller(part: Part) -> str:
    name = part.skill.__name__
    return (
        "def controller(obs, info):\n"
        "    for _ in range(100):\n"
        "        begun = info['step']\n"
        f"        obs, info = yield from {name}(obs, info)\n"
        "        if info['step'] == begun:\n"
        "            obs, info = yield noop()\n"
    )


def answers(number: int, part: Part) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key -> (role, answer) of the plan of this number, in both modes."""
    name = part.skill.__name__
    accepted = {"verdict": "accept", "why": ACCEPTED, "change": ""}
    planned = {"name": name, "purpose": part.purpose, "mode": "code", "success": part.success, "reason": "Rules that can be written down."}
    plan = {"rationale": "One routine does it, from any state.", "sub_actions": [planned]}
    reviewed = {"name": name, "worked": True, "why": ACCEPTED}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for mode in ("rl-gpt", "code-only"):
        at = f"{mode}/plan-{number}"
        found[f"{at}/slow"] = ("slow", plan)
        found[f"{at}/fast/{name}/attempt-1"] = ("fast", {"explanation": part.purpose, "source": source(part.skill)})
        found[f"{at}/critic/{name}/attempt-1"] = ("critic", accepted)
        other = source(part.skill).replace("iron=9", "iron=6")
        if other != source(part.skill):
            # Chance decides much below ground: other ways may find what these did not.
            found[f"{at}/fast/{name}/attempt-2"] = ("fast", {"explanation": f"{part.purpose} With less iron in store.", "source": other})
            found[f"{at}/critic/{name}/attempt-2"] = ("critic", accepted)
        if mode == "code-only":
            found[f"{at}/fast/controller/attempt-1"] = ("fast", {"explanation": "Calls it again and again.", "source": controller(part)})
            found[f"{at}/critic/controller/attempt-1"] = ("critic", accepted)
        else:
            set_up = {"primitives": [], "skills": [name], "shaping": "", "ppo": None, "reason": "The skill does it; the rest may help."}
            found[f"{at}/fast/set-up"] = ("fast", set_up)
        names = [reviewed, {**reviewed, "name": "controller"}] if mode == "code-only" else [reviewed]
        found[f"{at}/critic/plan"] = ("critic", {"sub_actions": names, "why": ACCEPTED, "advice": "None: no other plan is written."})
    return found


def transcript(scenario: str) -> str:
    """The file's text."""
    lines: list[dict[str, Any]] = [{"rlgpt_transcript": 1, "run": MODEL, "systems": []}]
    for number, part in enumerate(SCENARIOS[scenario], 1):
        lines += [
            {"key": key, "outcome": "answered", "answer": answer, "role": role, "model": MODEL}
            for key, (role, answer) in answers(number, part).items()
        ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def main() -> None:
    for scenario in SCENARIOS:
        (FOLDER / scenario / "transcript.jsonl").write_text(transcript(scenario), encoding="utf-8")


if __name__ == "__main__":
    main()
