"""Scale-invariant signal-to-noise ratio, with the pairing of voices left free.

SI-SNR after Le Roux et al., 1811.02508, with the means removed; permutation-invariant training
after Yu et al., 1607.00325.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

EPS = 1e-8
_TRY_ALL = 3
"""Sources up to which all assignments are tried, on the device."""
TRAINING_CAP_DB = 30.0
"""Near this, an item stops pulling on the weights: better separation is not heard, and an easy
item must not outweigh the hard ones."""


def si_snr(estimate: Tensor, target: Tensor, *, cap_db: float | None = None) -> Tensor:
    """Return the SI-SNR in dB over the last axis.

    :param estimate: ``(..., samples)``; its scale and offset do not matter.
    :param target: broadcasts against ``estimate``.
    :param cap_db: soft upper bound (Wisdom et al., 2006.12701): the noise counts as at least
        this far below the signal. None for measuring.
    :returns: ``(...)`` in dB.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True)
    signal = scale / (target.square().sum(-1, keepdim=True) + EPS) * target
    power = signal.square().sum(-1)
    noise = (estimate - signal).square().sum(-1)
    if cap_db is not None:
        noise = noise + 10 ** (-cap_db / 10) * power
    return 10 * torch.log10((power + EPS) / (noise + EPS))


def best_pairing(
    estimates: Tensor, sources: Tensor, *, cap_db: float | None = None
) -> tuple[Tensor, Tensor]:
    """Find the best assignment of estimates to sources of each item.

    All are tried up to three sources; the Hungarian method finds it for more.

    :param estimates: ``(batch, sources, samples)``.
    :param sources: like ``estimates``.
    :returns: mean SI-SNR of the best assignment ``(batch,)`` in dB, with a gradient through that
        assignment only, and the assignment int64 ``(batch, sources)``: source ``k`` is estimate
        ``pairing[:, k]``.
    :raises ValueError: when the shapes differ.
    """
    if estimates.shape != sources.shape:
        raise ValueError(
            f"estimates {tuple(estimates.shape)} and sources {tuple(sources.shape)} must have one "
            "shape: build the model with as many sources as the data has"
        )
    pairs = si_snr(estimates[:, None], sources[:, :, None], cap_db=cap_db)  # (B, source, estimate)
    count = sources.shape[1]
    if count > _TRY_ALL:
        solved = [linear_sum_assignment(item, maximize=True)[1] for item in pairs.detach().cpu()]
        pairing = torch.tensor(np.stack(solved), device=sources.device)
        return pairs.gather(2, pairing[..., None])[..., 0].mean(1), pairing
    options = torch.tensor(list(permutations(range(count))), device=sources.device)
    rows = torch.arange(count, device=sources.device)
    means = pairs[:, rows, options].mean(-1)  # (B, assignments)
    best, choice = means.max(dim=1)
    return best, options[choice]


def paired(estimates: Tensor, pairing: Tensor) -> Tensor:
    """Put estimates into the order of their sources.

    :param pairing: from :func:`best_pairing`.
    """
    return estimates.gather(1, pairing[..., None].expand_as(estimates))


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the negative SI-SNR under the best pairing, mean over the batch, in dB."""
    best, _ = best_pairing(outputs["estimates"], batch["sources"], cap_db=TRAINING_CAP_DB)
    return -best.mean()
