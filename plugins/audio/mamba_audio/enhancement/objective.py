"""The loss of MP-SENet (Lu et al., 2305.13686) and SEMamba, without their learned judge.

Their terms and weights, measured on the spectrum of the wave that comes out, which is a possible
spectrum by itself: their term for that (.1) has nothing to add here. The one left out (.05)
trains a network that imitates PESQ beside the model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mamba_audio.enhancement.spectra import CompressedSpectra, polar

WEIGHTS = {"magnitude": 0.9, "phase": 0.3, "complex": 0.1, "time": 0.2}
COMPRESSION = 0.3
_WINDOWS_PER_SECOND = 40
"""25 ms, with a quarter of it from one to the next."""
_SILENCE = 1e-5


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the weighted sum of :func:`terms`.

    :param outputs: ``enhanced`` ``(batch, samples)``.
    :param batch: ``clean`` like it, and ``rate`` in Hz, int64 ``(batch,)``, one for all.
    """
    parts = terms(outputs["enhanced"], batch["clean"], int(batch["rate"][0]))
    return torch.stack([WEIGHTS[name] * value for name, value in parts.items()]).sum()


def terms(enhanced: Tensor, clean: Tensor, rate: int) -> dict[str, Tensor]:
    """Return every term by name, each a scalar, the mean over the batch.

    Everything is measured at the level of the clean speech, so that loud and soft items weigh
    alike.
    """
    level = clean.square().mean(-1, keepdim=True).sqrt() + _SILENCE
    enhanced, clean = enhanced / level, clean / level
    n_fft = rate // _WINDOWS_PER_SECOND // 4 * 4
    spectra = CompressedSpectra(n_fft, n_fft // 4, COMPRESSION).to(clean.device)
    made, wanted = spectra.encode(enhanced), spectra.encode(clean)
    (magnitude, phase), (true_magnitude, true_phase) = polar(made), polar(wanted)
    return {
        "magnitude": (magnitude - true_magnitude).square().mean(),
        "phase": _phase_distance(phase - true_phase),
        "complex": 2 * (made - wanted).square().mean(),
        "time": (enhanced - clean).abs().mean(),
    }


def _phase_distance(difference: Tensor) -> Tensor:
    """Distance of phases, of their steps along frequency, and of those along time."""
    steps = (difference, difference.diff(dim=1), difference.diff(dim=2))
    return torch.stack([_around(step).abs().mean() for step in steps]).sum()


def _around(angle: Tensor) -> Tensor:
    """The same angle between -pi and pi; the turns themselves have no gradient."""
    return angle - 2 * math.pi * torch.round(angle.detach() / (2 * math.pi))
