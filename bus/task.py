"""What a run is asked to do: a scenario file, resolved, as it travels to every process in `TaskSubmitted`.

Pure data, so that a process on another machine needs only the bus address. `runtime/scenario.py` reads it from YAML.
Every field is read by something; a setting nobody reads is a bug.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Mode = Literal["rl-gpt", "rl-only", "code-only"]


class Part(BaseModel):
    """A frozen piece of a task or message; unknown fields are errors, not silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """

    id: str = Field(min_length=1)
    kwargs: dict[str, Any] = {}
    max_episode_steps: int | None = Field(None, ge=1)
    actions: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    notes: str = ""
    imports: tuple[str, ...] = ("math", "numpy")
    deterministic: bool = True


class Loops(Part):
    """Limits of the two loops.

    plans           times the slow agent may plan (1 = no iteration)
    attempts        drafts the fast agent may write of one skill before it falls to `rl`
    trial_episodes  episodes (one seed each) every draft is tried in; it has to succeed in all of them
    skill_steps     environment steps a single call of a skill may take
    """

    plans: int = Field(3, ge=1)
    attempts: int = Field(3, ge=1)
    trial_episodes: int = Field(5, ge=1)
    skill_steps: int = Field(100, ge=1)


class Critic(Part):
    """`enabled: false` is the ablation. `reviewers` are the agents whose reviews count, by name; the first one to speak decides.

    patience_s  seconds a trial or a plan waits for a review, before it goes on by the success test alone
    """

    enabled: bool = True
    reviewers: tuple[Identifier, ...] = Field(("critic",), min_length=1)
    patience_s: float = Field(1800.0, gt=0)


class Learner(Part):
    """PPO. Steps are environment steps throughout, also inside skills.

    env_steps         the whole learning budget of one plan, environment steps
    environments      environments stepped side by side
    rollout           decisions each environment takes between two updates
    batch_size, epochs, learning_rate, gamma, gae_lambda, clip, entropy, hidden   PPO's own
    device            auto, cpu or cuda
    checkpoint_every  environment steps between two checkpoints
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


class Evaluation(Part):
    """How a policy is scored: `episodes` held-out seeds from `first_seed` on; actions sampled or greedy, fixed beforehand.

    target   the run ends when the success rate reaches it
    """

    episodes: int = Field(100, ge=1)
    first_seed: int = Field(1_000_000, ge=0)
    actions: Literal["sampled", "greedy"] = "sampled"
    target: float = Field(0.9, ge=0, le=1)


class Price(Part):
    """US dollars per million tokens."""

    prompt: float = Field(0.0, ge=0)
    completion: float = Field(0.0, ge=0)


class Model(Part):
    """A language model. `model: recorded` answers from the scenario's transcript, offline.

    provider     openai stands for every OpenAI-compatible endpoint; others need AutoGen's extra of that name
    base_url     of an OpenAI-compatible endpoint
    api_key_env  name of the environment variable that holds the key; the key itself is never stored
    timeout_s    deadline of one request, seconds
    retries      requests repeated after a rate limit, a server error or a dropped connection
    repairs      times a malformed or impossible answer is asked for again
    price        of a model whose price AutoGen does not know
    """

    model: str = Field("recorded", min_length=1)
    provider: Literal["openai", "anthropic", "gemini", "ollama"] = "openai"
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: float | None = Field(None, ge=0)
    timeout_s: float = Field(120.0, gt=0)
    retries: int = Field(5, ge=0)
    repairs: int = Field(2, ge=0)
    price: Price | None = None


class Llm(Model):
    """The model of every role, and what differs by role: `roles: {critic: {model: ...}}`."""

    roles: dict[Literal["slow", "fast", "critic"], dict[str, Any]] = {}

    def of(self, role: str) -> Model:
        """The settings of one role: the common ones, overridden by its own."""
        common = {name: getattr(self, name) for name in Model.model_fields}
        own = next((fields for name, fields in self.roles.items() if name == role), {})
        return Model(**{**common, **own})

    @model_validator(mode="after")
    def _roles_are_models(self) -> Llm:
        for role in self.roles:
            self.of(role)
        return self


class Budgets(Part):
    """The run ends, with its best policy so far, when one of these is spent; null is unlimited.

    env_steps  environment steps of trials and learning; those of evaluation are counted on a line of their own
    """

    env_steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)
    usd: float | None = Field(None, gt=0)


class Processes(Part):
    """How many processes of a kind to start; `workers` is the number of environment processes of one trainer (null: by cores).

    restarts  of one process, without five minutes of work in between, before the run is given up
    """

    rollout: int = Field(1, ge=1)
    trainer: int = Field(1, ge=1)
    workers: int | None = Field(None, ge=1, le=1024)
    restarts: int = Field(5, ge=0)


class Task(Part):
    """A scenario, resolved.

    name     also names the run's folder
    goal     the task in a sentence or two, for the models
    success  the task's own success test: an expression over obs, info, reward, terminated, truncated, steps, episode_return
    """

    name: Identifier
    goal: str = Field(min_length=1)
    success: str = Field(min_length=1)
    environment: Environment
    mode: Mode = "rl-gpt"
    loops: Loops = Loops()
    critic: Critic = Critic()
    trainer: Learner = Learner()
    evaluation: Evaluation = Evaluation()
    budgets: Budgets = Budgets()
    processes: Processes = Processes()
    llm: Llm = Llm()
    seed: int = Field(0, ge=0)
