"""MineCLIP as a reward (Fan et al. 2022, arXiv 2206.08853): how well the last frames fit what the task says, beside the task's own reward.

The package `mineclip` is on no package index: `pip install git+https://github.com/MineDojo/MineCLIP` in MineDojo's venv, and torch with it.
Its weights (`attn.pth` or `avg.pth`) are a file to be downloaded from where its README says.

Written after MineCLIP's own `main/mineclip/run.py` and `load_ckpt.py`; what needs its weights was not run here.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 16
RESOLUTION = (160, 256)
POOLING = {"attn": "attn.d2.nh8.glusw", "avg": "avg"}
MODEL = {"arch": "vit_base_p16_fz.v2.t2", "hidden_dim": 512, "image_feature_dim": 512, "mlp_adapter_spec": "v0-2.t0"}
OTHERS = ("walk around", "look at the sky", "swim in the water", "fight a zombie", "build a house", "dig down", "ride a horse", "eat bread")
"""What a video could be about instead, where the scenario names nothing."""
INSTALL = "pip install git+https://github.com/MineDojo/MineCLIP"


class ClipUnavailable(RuntimeError):
    """MineCLIP cannot be used; the text says what is missing and how to get it."""


def direct(logits: Any) -> float:
    """The paper's direct reward: how far the task's prompt, the first of n logits, is likelier than by chance. max(P - 1/n, 0)."""
    values = np.asarray(logits, np.float64).ravel()
    shares = np.exp(values - values.max())
    return float(max(shares[0] / shares.sum() - 1.0 / len(values), 0.0))


class ClipReward:
    """Added to the reward of every step.

    weights  path of the weights
    prompt   what is to be seen, such as "milk a cow with a bucket"
    others   what could be seen instead
    scale    the reward's factor
    variant  attn or avg, of the weights
    device   of torch; "" takes a GPU if there is one
    """

    def __init__(
        self,
        *,
        weights: str,
        prompt: str,
        others: Any = OTHERS,
        scale: float = 0.1,
        variant: str = "attn",
        device: str = "",
    ) -> None:
        """Raises ClipUnavailable, ValueError."""
        if variant not in POOLING:
            raise ValueError(f"clip.variant {variant!r}: expected one of {', '.join(POOLING)}")
        if not prompt or not others:
            raise ValueError("clip needs a prompt, and at least one other")
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ClipUnavailable(f"clip.weights: {path} is no file; MineCLIP's README says where its weights are (attn.pth, avg.pth)")
        try:
            import torch
            from mineclip import MineCLIP
        except ImportError as error:
            raise ClipUnavailable(f"clip needs MineCLIP in the venv of MineDojo: {error}; {INSTALL}, with that venv's pip") from None
        self._torch, self._scale = torch, scale
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model = MineCLIP(pool_type=POOLING[variant], resolution=RESOLUTION, **MODEL).to(self._device)
        try:
            self._model.load_ckpt(str(path), strict=True)
        except (RuntimeError, KeyError, ValueError, EOFError) as error:
            raise ClipUnavailable(f"clip.weights: {path} are no weights of MineCLIP's {variant}: {str(error)[:500]}") from None
        self._model.eval()
        with torch.no_grad():
            self._texts = self._model.encode_text([prompt, *others])
        self._seen: deque[Any] = deque(maxlen=FRAMES)

    def reset(self) -> None:
        """An episode begins."""
        self._seen.clear()

    def __call__(self, rgb: Any) -> float:
        """The reward of a step after which this picture, [3, 160, 256] uint8, was seen; 0 until there are sixteen."""
        if rgb.shape != (3, *RESOLUTION):
            raise ValueError(f"clip sees pictures of {RESOLUTION}, not of {rgb.shape[1:]}: set size: [160, 256]")
        with self._torch.no_grad():
            frame = self._torch.as_tensor(np.ascontiguousarray(rgb), device=self._device)[None]
            self._seen.append(self._model.forward_image_features(frame)[0])
            if len(self._seen) < FRAMES:
                return 0.0
            video = self._model.forward_video_features(self._torch.stack(list(self._seen))[None])
            logits, _ = self._model.forward_reward_head(video, text_tokens=self._texts)
        return self._scale * direct(logits.cpu().numpy())
