"""SEMamba (Chao et al., 2405.06573): magnitude and phase through mixers along both axes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mamba_audio.enhancement.config import EnhancerConfig
from mamba_audio.enhancement.spectra import CompressedSpectra, polar
from mamba_core import scan_orders
from mamba_core.blocks import Block, BlockConfig
from mamba_core.mixers import MultiScan

_SILENCE = 1e-8


class Enhancer(nn.Module):
    """Predicts a mask for the compressed magnitude, and the clean phase.

    Dense convolutional encoder, then layers that mix along time and along frequency, then one
    decoder for the magnitude and one for the phase, with half the bins between. The recording is
    scaled to level 1 inside and back.

    :param config: see :class:`~mamba_audio.enhancement.config.EnhancerConfig`.
    """

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.spectra = CompressedSpectra(config.n_fft, config.hop, config.compression)
        self.widen = _conv(2, c, (1, 1))
        self.dense = DenseBlock(c, config.dilations)
        self.halve = _conv(c, c, (1, 3), stride=(1, 2))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.depth))
        self.magnitude, self.phase = _Decoder(config, 1), _Decoder(config, 2)
        self.slope = nn.Parameter(torch.ones(config.n_fft // 2 + 1))

    def forward(self, noisy: Tensor) -> dict[str, Tensor]:
        """Enhance whole recordings.

        :param noisy: float ``(batch, samples)`` at ``config.sample_rate``, any length from 1.
        :returns: ``{"enhanced": (batch, samples)}``.
        :raises ValueError: for a tensor of another shape.
        """
        if noisy.dim() != 2 or noisy.shape[-1] == 0:
            raise ValueError(
                f"noisy has shape {tuple(noisy.shape)}, expected (batch, samples) with at least "
                "one sample; give one channel per batch item"
            )
        level = noisy.square().mean(-1, keepdim=True).sqrt()
        spectrum = self._enhance(self.spectra.encode(noisy / (level + _SILENCE)))
        enhanced = self.spectra.decode(spectrum, noisy.shape[-1])
        return {"enhanced": enhanced * level}

    def _enhance(self, spectrum: Tensor) -> Tensor:
        magnitude, phase = polar(spectrum)
        x = torch.stack([magnitude, phase], dim=1).transpose(2, 3)  # (B, 2, frames, bins)
        x = self.halve(self.dense(self.widen(x)))
        for layer in self.layers:
            x = layer(x)
        bins = magnitude.shape[1]
        mask = 2 * torch.sigmoid(self.slope * self.magnitude(x, bins)[:, 0])
        angle = self._angle(self.phase(x, bins), phase)
        clean = mask.transpose(1, 2) * magnitude
        return torch.stack([clean * torch.cos(angle), clean * torch.sin(angle)], dim=1)

    def _angle(self, parts: Tensor, noisy: Tensor) -> Tensor:
        """``(B, 2, frames, bins)`` -> the clean phase ``(B, bins, frames)``."""
        parts = parts.transpose(2, 3)
        if self.config.phase == "free":
            return polar(parts)[1]
        straight = torch.stack([torch.ones_like(noisy), torch.zeros_like(noisy)], dim=1)
        return noisy + polar(parts + straight)[1]


def _conv(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: int = 1,
) -> nn.Sequential:
    """A convolution over frames and bins that keeps their numbers, a norm per channel, PReLU."""
    padding = ((kernel[0] - 1) // 2 * dilation, (kernel[1] - 1) // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation=(dilation, 1)),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.PReLU(outputs),
    )


class DenseBlock(nn.Module):
    """Convolutions over ever more frames, each reading the outputs of all before it."""

    def __init__(self, channels: int, dilations: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _conv(channels * (k + 1), channels, (3, 3), dilation=2**k) for k in range(dilations)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, frames, bins)``."""
        seen, y = x, x
        for layer in self.layers:
            y = layer(seen)
            seen = torch.cat([y, seen], dim=1)
        return y


class _Layer(nn.Module):
    """Along time for every bin, then along frequency for every frame."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.order = scan_orders.get(config.scan_order)
        self.along_time, self.along_bins = self._block(config), self._block(config)

    def _block(self, config: EnhancerConfig) -> Block:
        paths = scan_orders.paths(self.order)
        scan = MultiScan(config.channels, config.mixer, paths, merge=config.merge, share="none")
        return Block(config.channels, [scan], BlockConfig())

    def forward(self, x: Tensor) -> Tensor:
        x = self._along(self.along_time, x.permute(0, 3, 2, 1)).transpose(1, 2)
        return self._along(self.along_bins, x).permute(0, 3, 1, 2)

    def _along(self, block: Block, x: Tensor) -> Tensor:
        """``(B, rows, steps, channels)``, every row a sequence."""
        order = self.order((x.shape[2],), device=x.device)  # type: ignore[arg-type, call-arg]
        return block(x.flatten(0, 1), order=order).unflatten(0, x.shape[:2])


class _Decoder(nn.Module):
    """``dense block -> twice the bins -> one map per output``."""

    def __init__(self, config: EnhancerConfig, outputs: int) -> None:
        super().__init__()
        c = config.channels
        self.dense = DenseBlock(c, config.dilations)
        self.spread = nn.ConvTranspose2d(c, c, (1, 3), (1, 2))
        self.norm, self.activation = nn.InstanceNorm2d(c, affine=True), nn.PReLU(c)
        self.out = nn.Conv2d(c, outputs, 1)

    def forward(self, x: Tensor, bins: int) -> Tensor:
        """``(B, channels, frames, half) -> (B, outputs, frames, bins)``."""
        y = self.spread(self.dense(x))[..., :bins]
        return self.out(self.activation(self.norm(y)))


def example(
    config: EnhancerConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return a batch of buzzing syllables in noise, a second each.

    :returns: ``noisy`` and ``clean`` ``(batch, samples)``, and ``rate`` int64 ``(batch,)``.
    """
    time = torch.arange(config.sample_rate) / config.sample_rate
    pitch = 120 * (1 + 0.5 * torch.rand(batch_size, 1, generator=generator))
    tones = [torch.sin(2 * math.pi * k * pitch * time) / k for k in range(1, 9)]
    clean = 0.05 * torch.stack(tones).sum(0) * torch.sin(2 * math.pi * 3 * time).square()
    noise = 0.02 * torch.randn(clean.shape, generator=generator)
    rate = torch.full((batch_size,), config.sample_rate)
    batch = {"noisy": clean + noise, "clean": clean, "rate": rate}
    return {name: value.to(device) for name, value in batch.items()}
