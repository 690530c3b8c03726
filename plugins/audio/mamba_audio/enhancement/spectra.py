"""Short-time spectra with compressed magnitudes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-9


class CompressedSpectra(nn.Module):
    """Spectra whose magnitudes are raised to a power, so that soft sounds count too, and back.

    :param n_fft: samples per spectrum.
    :param hop: samples from spectrum to spectrum.
    :param power: between 0 and 1.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, power: float) -> None:
        super().__init__()
        self.n_fft, self.hop, self.power = n_fft, hop, power
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def encode(self, wave: Tensor) -> Tensor:
        """``(B, T) -> (B, 2, bins, frames)``: real and imaginary parts."""
        padded = F.pad(wave, (self.n_fft // 2, self.n_fft // 2 + self.n_fft))
        window = self.window.to(wave.dtype)
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, window=window, center=False, return_complex=True
        )
        parts = torch.view_as_real(spectrum).permute(0, 3, 1, 2)
        return parts * length(parts) ** (self.power - 1)

    def decode(self, spectrum: Tensor, samples: int) -> Tensor:
        """``(B, 2, bins, frames) -> (B, samples)``."""
        parts = spectrum * length(spectrum) ** (1 / self.power - 1)
        wave = torch.view_as_complex(parts.permute(0, 2, 3, 1).contiguous())
        return torch.istft(wave, self.n_fft, self.hop, window=self.window, length=samples)


def polar(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Return magnitude and phase of ``(B, 2, bins, frames)``, both ``(B, bins, frames)``."""
    real, imag = spectrum.unbind(1)
    return length(spectrum)[:, 0], torch.atan2(imag, real + _EPS)


def length(spectrum: Tensor) -> Tensor:
    """Return the magnitude of ``(B, 2, ...)``, ``(B, 1, ...)``, with a gradient at 0 too."""
    return (spectrum.square().sum(1, keepdim=True) + _EPS).sqrt()
