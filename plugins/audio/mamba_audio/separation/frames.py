"""From samples to frames and back: the learned filter banks of TasNet, or spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_audio.separation.networks.time_frequency import TimeFrequency
from mamba_core.mixers import MixerState

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


def make_frames(config: SeparatorConfig) -> LearnedFrames | Spectra:
    """Return the frames that the config's network works on."""
    if isinstance(config.network, TimeFrequency):
        return Spectra(config.kernel_size, config.stride)
    return LearnedFrames(config.network.filters, config.kernel_size, config.stride)


def _padded(wave: Tensor, overlap: int, stride: int) -> Tensor:
    """Put zeros around ``(B, T)`` until every sample lies in all the frames there are for it."""
    rest = -(wave.shape[-1] + overlap) % stride
    return F.pad(wave, (overlap, rest + overlap))


class LearnedFrames(nn.Module):
    """A convolution with ReLU, and a transposed convolution as its counterpart.

    Zeros in front and behind put the first and last samples into as many frames as the others.

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
        padded = _padded(wave, self.overlap, self.stride)
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


class Spectra(nn.Module):
    """Short-time spectra with a Hann window, and their inverse, exact where they are unchanged.

    :param kernel_size: samples per frame.
    :param stride: samples from frame to frame.
    """

    window: Tensor

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride, self.overlap = kernel_size, stride, kernel_size - stride
        # half a step off the usual one: no sample has weight 0, so any stride can be inverted
        steps = (torch.arange(kernel_size) + 0.5) / kernel_size
        self.register_buffer("window", torch.sin(torch.pi * steps).square(), persistent=False)

    def encode(self, wave: Tensor) -> Tensor:
        """``(B, T) -> (B, 2, bins, frames)``: real and imaginary parts."""
        return self._analysis(_padded(wave, self.overlap, self.stride))

    def decode(self, frames: Tensor, samples: int) -> Tensor:
        """``(B, sources, 2, bins, frames) -> (B, sources, samples)``."""
        waves = self._synthesis(frames) / self._weight(frames.shape[-1])
        return waves[..., self.overlap : self.overlap + samples]

    def init_state(self, batch_size: int, sources: int) -> MixerState:
        """See :meth:`LearnedFrames.init_state`."""
        return MixerState(
            {
                "read": self.window.new_zeros(batch_size, self.overlap),
                "held": self.window.new_zeros(batch_size, sources, self.overlap),
            }
        )

    def encode_next(self, wave: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Frames of the next samples, ``(B, k * stride) -> (B, 2, bins, k)``."""
        padded = torch.cat([state.tensors["read"], wave], dim=-1)
        read = padded[:, padded.shape[-1] - self.overlap :]
        return self._analysis(padded), MixerState({**state.tensors, "read": read})

    def decode_next(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """The next samples, late by :attr:`overlap`, ``(B, sources, k * stride)``."""
        waves = self._synthesis(frames)
        waves[..., : self.overlap] += state.tensors["held"]
        ready = frames.shape[-1] * self.stride
        # every sample that is said lies in as many frames as those in the middle of a recording
        enough = -(-self.size // self.stride)
        inner = self._weight(2 * enough)[enough * self.stride :][: self.stride]
        said = waves[..., :ready] / inner.repeat(frames.shape[-1])
        return said, MixerState({**state.tensors, "held": waves[..., ready:]})

    def _analysis(self, padded: Tensor) -> Tensor:
        windows = padded.unfold(-1, self.size, self.stride) * self.window
        spectra = torch.fft.rfft(windows, norm="ortho")  # (B, frames, bins)
        return torch.view_as_real(spectra).permute(0, 3, 2, 1)

    def _synthesis(self, frames: Tensor) -> Tensor:
        """Add up the windows of ``(B, sources, 2, bins, frames)``."""
        spectra = torch.view_as_complex(frames.permute(0, 1, 4, 3, 2).contiguous())
        windows = torch.fft.irfft(spectra, self.size, norm="ortho") * self.window
        return self._added(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])

    def _weight(self, frames: int) -> Tensor:
        """How much of every sample so many frames hold."""
        return self._added(self.window.square().expand(1, frames, -1))[0]

    def _added(self, windows: Tensor) -> Tensor:
        """Overlap and add ``(B, frames, size)`` to ``(B, samples)``."""
        samples = (windows.shape[1] - 1) * self.stride + self.size
        return F.fold(
            windows.transpose(1, 2), (1, samples), (1, self.size), stride=(1, self.stride)
        )[:, 0, 0]
