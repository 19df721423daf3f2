"""What a run is asked to do: a scenario file, resolved, as it travels to every process in `TaskSubmitted`.

Pure data, so that a process on another machine needs only the bus address. `runtime/scenario.py` reads it from YAML.
Every field is read by something; a setting nobody reads is a bug.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlgpt.bus.arena import Arena
from rlgpt.bus.models import Budgets, Llm
from rlgpt.bus.parts import Artifact, Identifier, Part, Skill

Mode = Literal["rl-gpt", "rl-only", "code-only"]


class Host(Part):
    """Where an environment runs that does not fit into the locked worker: in an interpreter of its own, here or on another machine.

    python     path of that interpreter on this machine, started and watched by the run; empty: the one that rlgpt runs in
    address    instead: tcp://HOST:PORT where `rlgpt host` serves it
    keys       key file for that address, made there with `rlgpt keys` or `rlgpt host`; required beyond this machine
    variables  environment variables for the host's process, such as JAVA_HOME; of ours it inherits only a few (PATH, HOME, DISPLAY, ...)
    path       folders the host imports from, beside the folder that rlgpt was started in
    start_s, reset_s, step_s   seconds the environment may take to be imported and made, to be reset, and for one step. Beyond, it is
               ended and started anew, and the episode ends as a fault
    """

    python: str = ""
    address: str = ""
    keys: str = ""
    variables: dict[str, str] = Field({})
    path: tuple[str, ...] = ()
    start_s: float = Field(120.0, gt=0)
    reset_s: float = Field(120.0, gt=0)
    step_s: float = Field(30.0, gt=0)

    @property
    def first_s(self) -> float:
        """Seconds until the environment must have been made, reset a few times and described."""
        return self.start_s + 3 * self.reset_s + 10.0

    @model_validator(mode="after")
    def _here_or_there(self) -> Host:
        if self.address and (self.python or self.variables or self.path):
            raise ValueError("address: what is served elsewhere was started there; leave out python, variables and path")
        if self.keys and not self.address:
            raise ValueError("keys: they belong to an address; a host on this machine needs none")
        return self


class Lead(Part):
    """How an earlier stage is played, live, before an episode of a later one begins; see `envs/lead.py`.

    name     of that stage
    success  its success test: where it holds, the next one goes on
    skills, library, controller   as in `TrainingRequested`
    policy   its network; None: the controller plays
    """

    name: Identifier
    success: str = Field(min_length=1)
    skills: tuple[Skill, ...] = ()
    library: tuple[Skill, ...] = ()
    controller: Identifier | None = None
    policy: Artifact | None = None


class Environment(Part):
    """Any Gymnasium environment, by id.

    id                 a registered Gymnasium id, or `module:EnvironmentId` to import the module first
    kwargs             passed to `gymnasium.make`
    max_episode_steps  replaces the registered time limit, in environment steps
    actions            words for the actions, in order (Discrete) or by dimension; shown to the models
    observations       words for the observation's parts, in order; shown to the models
    notes              anything else a model should know and could not read off the spaces
    imports            modules that skills may import; they are loaded before the worker locks itself
    deterministic      the same seed and actions give the same episode; if false, scores cannot be replayed and say so
    interrupts         name -> expression over obs, info, previous, ... that ends a call of a skill where it holds after a step
    starts             episodes begin in these saved states instead of at a reset (see `envs/starts.py`)
    lead               stages that are played before an episode begins, in order: set for the later stages of a task where nothing can be
                       repeated (`deterministic: false`)
    lead_tries         how often they are tried, each time from a reset, before the episode is given up
    until_success      an episode ends, as terminated, at the first step after which the success test holds
    horizon            an episode ends, as cut off, after so many environment steps from where it began (max_episode_steps counts from the
                       reset, also what led to a start state)
    memory             skills share a mapping `memory` that is empty at the beginning of every episode
    card               name and version of the card whose words stand here, `none`: no card's (see `envs/card_files.py`)
    toolkit            module whose functions skills may call (see `envs/toolkit.py`)
    host               where it runs if not in the locked worker itself; `id` may then be `module:factory` too, or of an old gym
    """

    id: str = Field(min_length=1)
    kwargs: dict[str, Any] = Field({})
    max_episode_steps: int | None = Field(None, ge=1)
    actions: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    notes: str = ""
    imports: tuple[str, ...] = ("math", "numpy")
    deterministic: bool = True
    interrupts: dict[Identifier, str] = Field({})
    starts: Artifact | None = None
    lead: tuple[Lead, ...] = ()
    lead_tries: int = Field(10, ge=1)
    until_success: bool = False
    horizon: int | None = Field(None, ge=1)
    memory: bool = False
    card: str = ""
    toolkit: str = ""
    host: Host | None = None


class SubTask(Part):
    """One stage of a long task, with two loops and a policy of its own. It begins where the stage before succeeded: in states that are
    reached again by repeating its actions, or, in an environment that is not deterministic, behind its policy, which is played each time.

    success  expression that holds when the stage is done; that of the last stage is the task's own
    """

    name: Identifier
    goal: str = Field(min_length=1)
    success: str = Field(min_length=1)


class Loops(Part):
    """Limits of the two loops.

    plans           times the slow agent may plan (1 = no iteration), of a divided task: each stage
    attempts        drafts the fast agent may write of one skill before it falls to `rl`
    trial_episodes  episodes (one seed each) every draft is tried in
    accept          share of them in which its success test has to hold, rounded up; below 1 where chance has a say, so that what is right
                    can fail all the same
    skill_steps     environment steps a single call of a skill may take
    repeats         times a plan, or a draft of one skill, may be one again that had failed, before its loop ends (a dead loop)
    planner         the slow agent is first asked to cut the task into stages (see `Task.stages`)
    practice        episodes in which a stage's policy collects the start states for the stage after it
    arenas          the fast agent may give every `rl` sub-action an arena of its own (see `Arena`), in which it is learned first
    arena_steps     environment steps of learning in each of those
    """

    plans: int = Field(3, ge=1)
    attempts: int = Field(3, ge=1)
    trial_episodes: int = Field(5, ge=1)
    accept: float = Field(1.0, gt=0, le=1)
    skill_steps: int = Field(100, ge=1)
    repeats: int = Field(2, ge=1)
    planner: bool = False
    practice: int = Field(50, ge=1)
    arenas: bool = False
    arena_steps: int = Field(100_000, ge=1)

    @property
    def needed(self) -> int:
        """Episodes of a trial in which the success test has to hold."""
        return max(1, math.ceil(round(self.accept * self.trial_episodes, 6)))


class Critic(Part):
    """`enabled: false` is the ablation. `reviewers` are the agents whose reviews count, by name; the first one to speak decides.

    patience_s  seconds a trial or a plan waits for a review, before it goes on by the success test alone
    pictures    of a trial, for models that can see: the first and the last frame of one episode and what is between, evenly; 0: none
    """

    enabled: bool = True
    reviewers: tuple[Identifier, ...] = Field(("critic",), min_length=1)
    patience_s: float = Field(1800.0, gt=0)
    pictures: int = Field(0, ge=0, le=8)


class Learner(Part):
    """PPO. Steps are environment steps throughout, also inside skills.

    env_steps         the whole learning budget of one plan, environment steps
    environments      environments stepped side by side
    rollout           decisions each environment takes between two updates
    batch_size, epochs, learning_rate, gamma, gae_lambda, clip, entropy, hidden   PPO's own
    device            auto, cpu or cuda
    checkpoint_every  environment steps between two checkpoints
    anneal            the learning rate falls in a straight line, to 0 at `env_steps`
    frame_stack       observations that the policy sees side by side: of its last so many decisions in the episode; a skill's own steps
                      are one decision, and what lies before an episode's first is that first one again
    normalize_observations  numbers (not pictures) are shifted and scaled by their running mean and deviation; frozen in evaluation
    normalize_returns       rewards are counted in the running deviation of discounted returns, instead of the largest one so far
    success_reward    added to the reward of the first environment step of an episode after which the success test holds
    compile           torch.compile for the policy's networks; needs a C++ compiler, and on a GPU triton
    warm_start        name of a skill that is cloned into the network before learning, or `code`: the one that succeeds most often alone
    warm_episodes     episodes each such skill plays for that, on training seeds; only successful ones are cloned. Their environment
                      steps count as learning's
    imitate           weight of self-imitation of past successful episodes beside PPO's own loss (Oh et al. 2018); 0: none
    """

    env_steps: int = Field(100_000, ge=1)
    environments: int = Field(8, ge=1)
    rollout: int = Field(128, ge=2)
    batch_size: int = Field(256, ge=2)
    epochs: int = Field(8, ge=1)
    learning_rate: float = Field(3e-4, gt=0)
    gamma: float = Field(0.99, gt=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    clip: float = Field(0.2, gt=0)
    entropy: float = Field(0.0, ge=0)
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 64)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    checkpoint_every: int = Field(10_000, ge=1)
    anneal: bool = False
    frame_stack: int = Field(1, ge=1, le=64)
    normalize_observations: bool = False
    normalize_returns: bool = False
    success_reward: float = 0.0
    compile: bool = False
    warm_start: Identifier | None = None
    warm_episodes: int = Field(20, ge=1)
    imitate: float = Field(0.0, ge=0)


class Evaluation(Part):
    """How a policy is scored: `episodes` held-out seeds from `first_seed` on; actions sampled or greedy, fixed beforehand.

    target        the run ends when the success rate reaches it
    stage_target  a stage of a divided task ends when its own success rate reaches this; null: the k-th root of `target` for k stages,
                  with which the whole chain reaches `target`
    """

    episodes: int = Field(100, ge=1)
    first_seed: int = Field(1_000_000, ge=0)
    actions: Literal["sampled", "greedy"] = "sampled"
    target: float = Field(0.9, ge=0, le=1)
    stage_target: float | None = Field(None, ge=0, le=1)


class Processes(Part):
    """How many processes of a kind to start; `workers` is the number of environment processes of one trainer (null: by cores).

    restarts  of one process, without five minutes of work in between, before the run is given up
    """

    rollout: int = Field(1, ge=1)
    trainer: int = Field(1, ge=1)
    workers: int | None = Field(None, ge=1, le=1024)
    restarts: int = Field(5, ge=0)


class Library(Part):
    """Skills kept between runs. What is retrieved depends on what other runs left there, so both are off unless asked for.

    use     show the fast agent like skills of earlier runs; one that it takes over is tried again before it counts
    add     keep this run's accepted skills, and its best policy if it reached the target
    folder  where they lie; null: $RLGPT_LIBRARY, else ~/.local/share/rlgpt/library
    """

    use: bool = False
    add: bool = False
    folder: str | None = Field(None, min_length=1)


class Task(Part):
    """A scenario, resolved.

    name     also names the run's folder
    goal     the task in a sentence or two, for the models
    success  the task's own success test: an expression over obs, info, reward, terminated, truncated, steps, episode_return
    shaping  expression added to the reward of every environment step of learning, in every mode, beside what the fast agent adds
    arenas   by name of the sub-action: where it is learned by itself, if the plan has it and leaves it to `rl`
    stages   a long task as ordered sub-tasks, each with two loops and a policy of its own, each beginning where the one before succeeded
    agents   two: a slow agent plans, a fast one writes code; one: a single agent gives plan and code in one answer (an ablation)
    seeds    learnings of every plan, with seeds `seed`, `seed` + 1, ...; the plan's score is that of all of them together
    """

    name: Identifier
    goal: str = Field(min_length=1)
    success: str = Field(min_length=1)
    environment: Environment
    mode: Mode = "rl-gpt"
    shaping: str = ""
    arenas: dict[Identifier, Arena] = Field({})
    stages: tuple[SubTask, ...] = ()
    agents: Literal["one", "two"] = "two"
    loops: Loops = Loops()
    critic: Critic = Critic()
    trainer: Learner = Learner()
    evaluation: Evaluation = Evaluation()
    budgets: Budgets = Budgets()
    processes: Processes = Processes()
    llm: Llm = Llm()
    library: Library = Library()
    seed: int = Field(0, ge=0)
    seeds: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _arenas_can_be_learned_in(self) -> Task:
        if (self.arenas or self.loops.arenas) and not self.environment.deterministic:
            made = [name for name, arena in self.arenas.items() if arena.where] + ["loops.arenas"] * self.loops.arenas
            if made:
                raise ValueError(
                    f"arenas: {', '.join(made)} would begin in states that are found again by repeating actions; with "
                    "environment.deterministic: false those lead somewhere else. Name files of snapshots as `starts`"
                )
        for name, arena in self.arenas.items():
            try:
                Learner.model_validate({**self.trainer.model_dump(), **arena.trainer})
            except ValueError as error:
                raise ValueError(f"arenas.{name}.trainer: {error}") from None
        return self

    @model_validator(mode="after")
    def _stages_make_a_chain(self) -> Task:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages: two have the same name ({', '.join(names)}); each needs its own")
        if self.stages and self.stages[-1].success != self.success:
            raise ValueError(
                f"stages: the last one, {names[-1]}, has the success test {self.stages[-1].success!r}; it ends the task, "
                f"so it has to be the task's own: {self.success!r}"
            )
        if self.loops.planner and self.stages:
            raise ValueError("loops.planner: the stages are given already; leave out one of the two")
        if self.loops.planner and self.mode == "rl-only":
            raise ValueError("loops.planner: mode rl-only asks no model; give `stages`, or set loops.planner=false to learn the task whole")
        return self
