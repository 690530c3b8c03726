"""From samples to frames and back: the learned filter banks of TasNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import MixerState


class LearnedFrames(nn.Module):
    """A convolution with ReLU, and a transposed convolution as its counterpart.

    Zeros in front and behind put the first and last samples into as many frames as all others.

    :param filters: channels of a frame.
    :param kernel_size: samples per frame.
    :param stride: samples from frame to frame.
    """

    def __init__(self, filters: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.overlap = kernel_size - stride
        """Samples that a frame shares with the next, and by which a stream's output is late."""
        self.encoder = nn.Conv1d(1, filters, kernel_size, stride=stride, bias=False)
        self.decoder = nn.ConvTranspose1d(filters, 1, kernel_size, stride=stride, bias=False)

    def encode(self, wave: Tensor) -> Tensor:
        """``(B, T) -> (B, filters, frames)``, not negative."""
        rest = -wave.shape[-1] % self.stride
        padded = F.pad(wave, (self.overlap, rest + self.overlap))
        return F.relu(self.encoder(padded[:, None]))

    def decode(self, frames: Tensor, samples: int) -> Tensor:
        """``(B, sources, filters, frames) -> (B, sources, samples)``."""
        waves = self._synthesis(frames)
        return waves[..., self.overlap : self.overlap + samples]

    def init_state(self, batch_size: int, sources: int) -> MixerState:
        """Return silence: the last samples read, and what the next ones will be added to."""
        weight = self.encoder.weight
        return MixerState(
            {
                "read": weight.new_zeros(batch_size, self.overlap),
                "held": weight.new_zeros(batch_size, sources, self.overlap),
            }
        )

    def encode_next(self, wave: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Frames of the next samples, ``(B, k * stride) -> (B, filters, k)``."""
        padded = torch.cat([state.tensors["read"], wave], dim=-1)
        read = padded[:, padded.shape[-1] - self.overlap :]
        frames = F.relu(self.encoder(padded[:, None]))
        return frames, MixerState({**state.tensors, "read": read})

    def decode_next(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """The next samples, late by :attr:`overlap`, ``(B, sources, k * stride)``."""
        waves = self._synthesis(frames)
        waves[..., : self.overlap] += state.tensors["held"]
        ready = frames.shape[-1] * self.stride
        held = waves[..., ready:]
        return waves[..., :ready], MixerState({**state.tensors, "held": held})

    def _synthesis(self, frames: Tensor) -> Tensor:
        return self.decoder(frames.flatten(0, 1))[:, 0].unflatten(0, frames.shape[:2])
