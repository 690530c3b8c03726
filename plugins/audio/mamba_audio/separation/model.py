"""A time-domain separator: learned frames, one mask per voice and frame, learned synthesis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_audio.separation.config import SeparatorConfig
from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MultiScanConfig

_SILENCE = 1e-8
"""Added to a mixture's level: keeps digital silence silent."""


class Separator(nn.Module):
    """Mamba-TasNet (Jiang et al., 2407.09732) with any mixer, scan order and merge.

    ``encoder -> ReLU -> LayerNorm -> bottleneck -> Backbone -> mask -> ReLU``; each mask times
    the encoded mixture goes through the decoder, a transposed convolution. The mixture is scaled
    to level 1 inside and the estimates back, so that loud and soft recordings are treated alike.

    :param config: see :class:`~mamba_audio.separation.config.SeparatorConfig`.
    """

    def __init__(self, config: SeparatorConfig) -> None:
        super().__init__()
        self.config = config
        n, d = config.filters, config.d_model
        self.encoder = nn.Conv1d(1, n, config.kernel_size, stride=config.stride, bias=False)
        self.norm = nn.LayerNorm(n)
        self.bottleneck = nn.Linear(n, d, bias=False)
        self.backbone = Backbone(
            BackboneConfig(
                d_model=d,
                pattern="M" * config.depth,
                mixer=config.mixer,
                scan=MultiScanConfig(scan_order=config.scan_order, merge=config.merge),
            )
        )
        self.mask = nn.Linear(d, config.sources * n, bias=False)
        self.decoder = nn.ConvTranspose1d(
            n, 1, config.kernel_size, stride=config.stride, bias=False
        )

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
        level = mixture.square().mean(-1, keepdim=True).sqrt() + _SILENCE
        frames = self._encode(mixture / level)
        masks = self._masks(frames)
        estimates = self._decode(masks * frames[:, None], mixture.shape[-1])
        return {"estimates": estimates * level[:, None]}

    @property
    def _edge(self) -> int:
        """Padding in front, so that the first samples lie in as many frames as all others."""
        return self.config.kernel_size - self.config.stride

    def _encode(self, mixture: Tensor) -> Tensor:
        """``(B, T) -> (B, filters, frames)``, not negative."""
        rest = -(mixture.shape[-1] - self.config.stride) % self.config.stride
        padded = F.pad(mixture, (self._edge, rest + self._edge))
        return F.relu(self.encoder(padded[:, None]))

    def _masks(self, frames: Tensor) -> Tensor:
        """``(B, filters, frames) -> (B, sources, filters, frames)``."""
        tokens = self.bottleneck(self.norm(frames.transpose(1, 2)))
        masks = F.relu(self.mask(self.backbone(tokens)))
        return masks.unflatten(-1, (self.config.sources, -1)).permute(0, 2, 3, 1)

    def _decode(self, masked: Tensor, samples: int) -> Tensor:
        """``(B, sources, filters, frames) -> (B, sources, samples)``."""
        waves = self.decoder(masked.flatten(0, 1))[:, 0]
        return waves[:, self._edge : self._edge + samples].unflatten(0, masked.shape[:2])


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
