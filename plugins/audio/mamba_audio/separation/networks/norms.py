"""Norms over channels and time, of which one sees the past only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.mixers import MixerState

EPS = 1e-8


class GlobalNorm(nn.Module):
    """Zero mean and unit variance over everything but the batch (gLN of Luo and Mesgarani).

    A frame's result depends on the whole item: not for causal models.

    :param channels: size of dimension 1, each with a scale and an offset of its own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, ...)``, any number of dimensions behind."""
        dims = tuple(range(1, x.dim()))
        mean = x.mean(dims, keepdim=True)
        centred = x - mean
        scale = (centred.square().mean(dims, keepdim=True) + EPS).rsqrt()
        shape = (-1, *[1] * (x.dim() - 2))
        return centred * scale * self.weight.view(shape) + self.bias.view(shape)


class CumulativeNorm(nn.Module):
    """Zero mean and unit variance over channels and all frames so far (cLN).

    Sums run in float64: after an hour, float32 would no longer notice a frame.

    :param channels: size of dimension 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, frames)``, or ``(B, channels, frames, bins)``, one norm for all bins."""
        y, _ = self.prefill(x, self.init_state(x.shape[0]))
        return y

    def init_state(self, batch_size: int) -> MixerState:
        """Return the sums before the first frame, float64 ``(B, 3)``: of 1, x and x squared."""
        sums = torch.zeros(batch_size, 3, dtype=torch.float64, device=self.weight.device)
        return MixerState({"sums": sums})

    def prefill(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue by any number of frames; see :meth:`forward`."""
        wide = x.double().movedim(2, -1).flatten(1, -2)  # (B, values of a frame, frames)
        ones = torch.full_like(wide[:, 0], wide.shape[1])
        new = torch.stack([ones, wide.sum(1), wide.square().sum(1)], dim=1)
        sums = state.tensors["sums"][..., None] + new.cumsum(-1)  # (B, 3, frames)
        count, total, squares = sums.unbind(1)
        mean = total / count
        scale = (squares / count - mean.square()).clamp(min=0).add(EPS).rsqrt()
        rest = (1,) * (x.dim() - 3)
        mean, scale = (
            value[:, None].to(x.dtype).unflatten(-1, (-1, *rest)) for value in (mean, scale)
        )
        weight, bias = (value.view(-1, 1, *rest) for value in (self.weight, self.bias))
        after = sums[..., -1] if x.shape[2] else state.tensors["sums"]
        return (x - mean) * scale * weight + bias, MixerState({"sums": after})


class RunningLevel(nn.Module):
    """Root mean square of each frame and all before it."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, ..., frames) -> (B, 1, ..., frames)``, with ones for what lies between."""
        return self.prefill(x, self.init_state(x.shape[0], x.device))[0]

    def init_state(self, batch_size: int, device: torch.device) -> MixerState:
        """Return the sums before the first frame, float64 ``(B, 2)``: of 1 and of powers."""
        return MixerState({"sums": torch.zeros(batch_size, 2, dtype=torch.float64, device=device)})

    def prefill(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue by one frame or more; see :meth:`forward`."""
        between = tuple(range(1, x.dim() - 1))
        power = x.double().square().mean(between)
        new = torch.stack([torch.ones_like(power), power], dim=1)
        sums = state.tensors["sums"][..., None] + new.cumsum(-1)  # (B, 2, frames)
        level = (sums[:, 1] / sums[:, 0]).sqrt().to(x.dtype)
        shape = (x.shape[0], *[1] * len(between), x.shape[-1])
        return level.view(shape), MixerState({"sums": sums[..., -1]})


def make_norm(channels: int, *, causal: bool) -> nn.Module:
    """Return the norm over channels and time that a causal model, or another one, may have."""
    return CumulativeNorm(channels) if causal else GlobalNorm(channels)
