"""An agent of the user's own, from their own folder, joins a running run; so does one more trainer."""

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


def test_agent_from_a_folder_with_its_own_envs_and_agents_takes_part(rlgpt: Rlgpt):
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
    until("it publishes", lambda: attached.poll() is not None or published(run, "seen"))
    attached.send_signal(signal.SIGINT)
    said, _ = attached.communicate(timeout=20)
    launcher.send_signal(signal.SIGINT)
    watched, _ = launcher.communicate(timeout=30)

    assert attached.returncode == 0, said
    assert "progress_seen" in said
    seen = published(run, "seen")[0]
    assert (seen.source, seen.type) == ("watcher", "mine.seen.v1")
    assert b"hello from my envs" in seen.data
    assert "joined: watcher" in watched
    assert "progress_seen" in (run.logs / "watcher.jsonl").read_text()


def test_further_trainer_takes_the_next_name_and_the_work_of_one_that_dies_and_leaves_with_the_run(rlgpt: Rlgpt):
    launcher, run = rlgpt.launch(*ENDLESS)
    until("learning", learning(run))
    second = rlgpt.start("attach", "trainer")
    until("it is on the bus", ready(run, "trainer-2"))
    (first,) = [pid for pid, command in processes_of(run.path).items() if "--name trainer-1 " in command]
    os.kill(first, signal.SIGKILL)
    until("the training goes on", lambda: any(plan.resumed for plan in story(run).state.plans.values()))
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=30)
    assert len(published(run, TrainingRequested.TOPIC)) == 1
    said, _ = second.communicate(timeout=30)
    assert "run_over" in said
    assert second.returncode == 0
