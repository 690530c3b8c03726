"""Audio-Mamba (Erol et al., 2406.03344): Vim on patches of a mel spectrogram."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from mamba_audio.tagging.config import TaggerConfig
from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MultiScanConfig

_FLOOR = 1e-10


class Tagger(nn.Module):
    """``mel -> patches, with a class token in their middle -> Backbone -> that token -> logits``.

    :param config: see :class:`~mamba_audio.tagging.config.TaggerConfig`.
    """

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        d, tokens = config.d_model, config.grid[0] * config.grid[1]
        self.mel = MelPatches(config)
        self.embed = nn.Conv2d(1, d, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(0.02 * torch.randn(d))
        self.position = nn.Parameter(0.02 * torch.randn(tokens + 1, d))
        scan = MultiScanConfig(scan_order=config.scan_order, merge=config.merge, share=config.share)
        self.backbone = Backbone(
            BackboneConfig(d_model=d, pattern="M" * config.depth, mixer=config.mixer, scan=scan)
        )
        self.head = nn.Linear(d, len(config.labels))

    def forward(self, wave: Tensor) -> dict[str, Tensor]:
        """Tag recordings.

        :param wave: float ``(batch, samples)``, ``config.samples`` of them.
        :returns: ``{"logits": (batch, labels)}``, one independent question per label.
        :raises ValueError: for a tensor of another shape.
        """
        if wave.dim() != 2 or wave.shape[1] != self.config.samples:
            raise ValueError(
                f"wave has shape {tuple(wave.shape)}, expected (batch, {self.config.samples}): "
                f"{self.config.seconds} s at {self.config.sample_rate} Hz; pad or cut it"
            )
        patches = self.embed(self.mel(wave)[:, None]).flatten(2).transpose(1, 2)
        middle = patches.shape[1] // 2
        token = self.class_token.expand(len(wave), 1, -1)
        tokens = torch.cat([patches[:, :middle], token, patches[:, middle:]], dim=1)
        read = self.backbone(tokens + self.position)
        return {"logits": self.head(read[:, middle])}


class MelPatches(nn.Module):
    """The logarithmic mel spectrogram, cut to whole patches, with mean 0 and variance 1.

    The norm is over the whole item, so that the level of a recording does not matter.
    """

    window: Tensor
    bands: Tensor

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        size = round(config.window_ms * config.sample_rate / 1000)
        self.n_fft = 2 ** (size.bit_length() + 1)  # finer than needed: no band is without a bin
        self.hop = config.hop
        self.kept = (config.grid[0] * config.patch[0], config.grid[1] * config.patch[1])
        with torch.device("cpu"):  # the bands need numbers, also where the model has none yet
            bands = torchaudio.functional.melscale_fbanks(
                self.n_fft // 2 + 1, 20.0, config.sample_rate / 2, config.mels, config.sample_rate
            )
            self.register_buffer("window", torch.hann_window(size), persistent=False)
            self.register_buffer("bands", bands, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """``(B, samples) -> (B, bands, spectra)``."""
        wave = wave / (wave.square().mean(-1, keepdim=True).sqrt() + _FLOOR)
        spectra = torch.stft(
            wave,
            self.n_fft,
            self.hop,
            win_length=len(self.window),
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        power = self.bands.T @ spectra.abs().square()
        logs = (power + _FLOOR).log()[:, : self.kept[0], : self.kept[1]]
        mean = logs.mean((1, 2), keepdim=True)
        return (logs - mean) / (logs.var((1, 2), keepdim=True) + 1e-5).sqrt()


def example(
    config: TaggerConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return tones whose pitch tells the tag.

    :returns: ``wave`` ``(batch, samples)`` and ``targets`` float ``(batch, labels)`` of 0 and 1.
    """
    count = len(config.labels)
    tags = torch.arange(batch_size) % count
    time = torch.arange(config.samples) / config.sample_rate
    pitch = 200 * (1 + tags[:, None] + 0.2 * torch.rand(batch_size, 1, generator=generator))
    wave = 0.1 * torch.sin(2 * torch.pi * pitch * time)
    wave = wave + 0.01 * torch.randn(wave.shape, generator=generator)
    targets = torch.nn.functional.one_hot(tags, count).float()
    return {"wave": wave.to(device), "targets": targets.to(device)}
