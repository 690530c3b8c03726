"""A separator: the mixture as frames, a network that gives each voice its frames, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mamba_audio.separation.config import SeparatorConfig
from mamba_audio.separation.frames import make_frames
from mamba_audio.separation.networks import build_network
from mamba_core.mixers import MixerState

_SILENCE = 1e-8
"""Added to a mixture's level: keeps digital silence silent."""


class Separator(nn.Module):
    """Frames around any of the networks: learned ones, or spectra.

    The mixture is scaled to level 1 inside and the estimates back, so that loud and soft
    recordings are treated alike. A causal model cannot know the level of what is to come: its
    network does the same by the level of each frame, or of all so far.

    :param config: see :class:`~mamba_audio.separation.config.SeparatorConfig`.
    """

    def __init__(self, config: SeparatorConfig) -> None:
        super().__init__()
        self.config = config
        self.frames = make_frames(config)
        self.network = build_network(config)

    def forward(self, mixture: Tensor) -> dict[str, Tensor]:
        """Separate whole mixtures.

        :param mixture: float ``(batch, samples)`` at ``config.sample_rate``, any length from 1.
        :returns: ``{"estimates": (batch, sources, samples)}``; the order of the sources is free,
            and their sum is near the mixture only as far as training made it so.
        :raises ValueError: for a tensor of another shape.
        """
        if mixture.dim() != 2 or mixture.shape[-1] == 0:
            raise ValueError(
                f"mixture has shape {tuple(mixture.shape)}, expected (batch, samples) with at "
                "least one sample; give one channel per batch item"
            )
        if self.config.causal:
            return {"estimates": self._estimate(mixture)}
        level = mixture.square().mean(-1, keepdim=True).sqrt()
        return {"estimates": self._estimate(mixture / (level + _SILENCE)) * level[:, None]}

    def _estimate(self, mixture: Tensor) -> Tensor:
        frames = self.network(self.frames.encode(mixture))
        return self.frames.decode(frames, mixture.shape[-1])

    @property
    def delay(self) -> int:
        """Samples by which :meth:`prefill` answers late."""
        return self.frames.overlap

    @property
    def latency(self) -> int:
        """Samples from one that goes in to the moment when its estimate can come out.

        A frame needs all its samples, and a sample all its frames: ``kernel_size`` in all.
        """
        return self.config.kernel_size

    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first sample.

        :raises TypeError: for a model that is not causal, or whose network cannot stream.
        """
        if not self.config.causal:
            raise TypeError(
                f"{type(self.network).__name__} cannot stream, it sees later frames: build the "
                "model with causal=True"
            )
        network = self.network.init_state(batch_size)
        frames = self.frames.init_state(batch_size, self.config.sources)
        return MixerState(children=(frames, network))

    def prefill(self, mixture: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue recordings.

        :param mixture: ``(batch, samples)``, a multiple of ``config.stride`` samples.
        :returns: estimates ``(batch, sources, samples)``, late by :attr:`delay`, and the state.
        :raises ValueError: for another number of samples.
        """
        if mixture.shape[-1] % self.config.stride:
            raise ValueError(
                f"{mixture.shape[-1]} samples are no multiple of stride = {self.config.stride}"
            )
        frames_state, network_state = state.children
        frames, frames_state = self.frames.encode_next(mixture, frames_state)
        frames, network_state = self.network.prefill(frames, network_state)
        estimates, frames_state = self.frames.decode_next(frames, frames_state)
        return estimates, MixerState(children=(frames_state, network_state))


def example(
    config: SeparatorConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return a batch of mixed buzzing tones, a quarter of a second each.

    :returns: ``mixture`` ``(batch, samples)`` and ``sources`` ``(batch, sources, samples)``.
    """
    samples = config.sample_rate // 4
    time = torch.arange(samples) / config.sample_rate
    shape = (batch_size, config.sources, 1)
    # a pitch range of its own for each source, as voices have
    base = 100.0 * 1.7 ** torch.arange(config.sources)[:, None]
    pitch = base * (1 + 0.2 * torch.rand(shape, generator=generator))
    phase = torch.rand(shape, generator=generator)
    tones = [torch.sin(2 * math.pi * k * (pitch * time + phase)) / k for k in range(1, 6)]
    sources = 0.05 * torch.stack(tones).sum(0)
    batch = {"mixture": sources.sum(1), "sources": sources}
    return {name: value.to(device) for name, value in batch.items()}
