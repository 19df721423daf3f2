"""Which device learns, how arrays get there, and networks compiled for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlgpt.agents.learning.endings import LearningFailed
from rlgpt.envs.observations import Learnable


def choose_device(wanted: str, policy: str) -> str:
    """`auto` is the GPU for pictures where there is one; small networks on vectors learn faster on the CPU than across a bus to a GPU."""
    if wanted.startswith("cuda") and int(wanted.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise LearningFailed(
            f"trainer.device is {wanted!r}, and torch finds {torch.cuda.device_count()} CUDA devices here; use auto or cpu", 0
        )
    if wanted != "auto":
        return wanted
    return "cuda" if policy != "MlpPolicy" and torch.cuda.is_available() else "cpu"


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array as a tensor there: the same memory on a CPU; for a GPU through page-locked memory, from which copies run by themselves."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def obs_to_device(obs: Learnable, device: torch.device) -> Any:
    """A batch of observations there: a tensor, or a dict of tensors."""
    return {key: to_device(part, device) for key, part in obs.items()} if isinstance(obs, dict) else to_device(obs, device)


def compile_networks(policy: Any, example: Learnable) -> None:
    """torch.compile for the networks of a policy, in place, so that weights keep their names; `example` is a batch of observations.

    One kernel serves every batch size (dynamic): compiled anew for each, a resumed learning could round otherwise than an unbroken one.
    Raises LearningFailed where that is not possible here.
    """
    extractors = {id(part): part for part in (policy.features_extractor, policy.pi_features_extractor, policy.vf_features_extractor)}
    for part in (*extractors.values(), policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net):
        part.forward = torch.compile(_called(part.forward), dynamic=True)
    try:
        policy.predict_values(obs_to_device(example, policy.device)).sum().backward()
    except Exception as error:  # whatever a missing or broken compiler raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise LearningFailed(
            f"trainer.compile is true, and torch.compile does not work here ({type(error).__name__}: {reason[0][:300]}); it needs a C++ "
            "compiler (such as `apt install g++`), and on a GPU triton: install it, or set trainer.compile: false",
            0,
        ) from error
    policy.optimizer.zero_grad()


def _called(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, called by code of our own: what lies in torch's own modules (nn.Sequential) `torch.compile` passes over in silence."""

    def run(inputs: Any) -> Any:
        return forward(inputs)

    return run
