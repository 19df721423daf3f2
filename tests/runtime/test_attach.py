"""An agent of the user's own, from their own folder, joins a running run; so does one more trainer, which leaves when the run ends."""

import os
import signal

from running import ENDLESS, Rlgpt, learning, processes_of, published, ready, story, until

from rlgpt.bus.messages import TrainingRequested

AGENT = """
from agents.words import GREETING
from envs import HOME
from rlgpt.agents.agent import Agent, handles
from rlgpt.bus.messages import Message, TaskSubmitted, TrainingProgressed


class Seen(Message, owner="mine"):
    words: str
    plans: int


class Watcher(Agent):
    role = "watcher"

    @handles(TrainingProgressed)
    async def see(self, progress: TrainingProgressed) -> Seen:
        self.log.info("progress_seen", steps=progress.point.env_steps)
        return Seen(words=f"{GREETING} from {HOME}", plans=len(self.state.plans))
"""


def test_agent_from_a_folder_with_its_own_envs_and_agents_takes_part_and_a_second_trainer_shares_the_work(rlgpt: Rlgpt):
    mine = rlgpt.folder / "mine"
    for package, text in (("agents", ""), ("envs", "HOME = 'my envs'\n")):
        (mine / package).mkdir(parents=True)
        (mine / package / "__init__.py").write_text(text)
    (mine / "agents" / "words.py").write_text("GREETING = 'hello'\n")
    (mine / "watch.py").write_text(AGENT)
    rlgpt.environ["RLGPT_RUNS"] = str(rlgpt.folder / "runs")
    launcher, run = rlgpt.launch(*ENDLESS)
    until("learning", learning(run))
    attached = rlgpt.start("attach", "watch.py:Watcher", "--run", "latest", cwd=mine)
    trainer = rlgpt.start("attach", "trainer")
    until("the agent publishes", lambda: attached.poll() is not None or published(run, "seen"))
    until("the second trainer is on the bus", ready(run, "trainer-2"))
    attached.send_signal(signal.SIGINT)
    said, _ = attached.communicate(timeout=200)
    assert attached.returncode == 0, said
    assert "progress_seen" in said
    assert "progress_seen" in (run.logs / "watcher.jsonl").read_text()
    seen = published(run, "seen")[0]
    assert (seen.source, seen.type) == ("watcher", "mine.seen.v1")
    assert b"hello from my envs" in seen.data

    (first,) = [pid for pid, command in processes_of(run.path).items() if "--name trainer-1 " in command]
    os.kill(first, signal.SIGKILL)
    until("the training goes on", lambda: any(plan.resumed for plan in story(run).state.plans.values()))
    launcher.send_signal(signal.SIGINT)
    watched, _ = launcher.communicate(timeout=200)
    assert "joined: watcher" in watched
    assert "joined: trainer-2" in watched
    assert len(published(run, TrainingRequested.TOPIC)) == 1
    said, _ = trainer.communicate(timeout=200)
    assert "run_over" in said
    assert trainer.returncode == 0
