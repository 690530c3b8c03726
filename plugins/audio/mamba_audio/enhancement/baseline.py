"""Spectral subtraction (Boll, 1979; Berouti et al., 1979): what a model has to be better than."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW_S = 0.032
QUIET_SHARE = 0.2
"""The quietest frames of each bin are taken for noise alone."""
TOO_MUCH = 2.0
"""More than the estimate is subtracted, or its peaks remain as musical tones."""
FLOOR = 0.05
"""Share of the magnitude that always stays."""


def spectral_subtraction(noisy: Tensor, rate: int) -> Tensor:
    """Subtract the power of the quietest frames from every bin.

    The noise is taken to be the same all through, which is its known weakness.

    :param noisy: ``(batch, samples)``.
    :param rate: in Hz.
    :returns: like ``noisy``.
    """
    n_fft = 2 * round(rate * WINDOW_S / 2)
    window = torch.hann_window(n_fft, dtype=noisy.dtype)
    spectrum = torch.stft(
        noisy, n_fft, n_fft // 4, window=window, return_complex=True, pad_mode="constant"
    )
    power = spectrum.abs().square()
    quiet = max(round(QUIET_SHARE * power.shape[-1]), 1)
    # the mean of the quietest fifth lies below that of all frames of noise: for Gaussian noise,
    # whose power is exponential, by this factor
    share = torch.tensor(QUIET_SHARE, dtype=noisy.dtype)
    bias = 1 + (1 - share) / share * torch.log(1 - share)
    noise = power.sort(dim=-1).values[..., :quiet].mean(-1, keepdim=True) / bias
    gain = (1 - TOO_MUCH * noise / (power + 1e-20)).clamp(min=0).sqrt().clamp(min=FLOOR)
    return torch.istft(spectrum * gain, n_fft, n_fft // 4, window=window, length=noisy.shape[-1])
