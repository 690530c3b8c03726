"""How well voices were separated, over the mixture itself: SI-SNRi, SDRi, share of failures.

An item's value is the mean over its sources; the metric is the mean over items.
"""

from __future__ import annotations

import torchmetrics
from torch import Tensor
from torchmetrics.functional.audio import signal_distortion_ratio

from mamba_audio.separation.objective import best_pairing, paired, si_snr
from mamba_core.training import ValueMean

ROUNDING_DB = 1e-6
"""The mixture itself must not count as worse than itself."""

SDR_TAPS = 512
"""Length of the distortion filter that SDR allows (BSS Eval, Vincent et al., 2006)."""


def si_snr_improvement(estimates: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return SI-SNRi per item.

    :param estimates: ``(batch, sources, samples)``, in any order.
    :param batch: ``mixture`` ``(batch, samples)`` and ``sources`` like the estimates.
    :returns: ``(batch,)`` in dB.
    :raises ValueError: for a source that is silent: its ratio has no meaning.
    """
    sources = batch["sources"]
    _refuse_silence(sources)
    best, _ = best_pairing(estimates, sources)
    before = si_snr(batch["mixture"][:, None].expand_as(sources), sources).mean(1)
    return best - before


def sdr_improvement(estimates: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return SDRi per item ``(batch,)`` in dB: SDR that allows a 512-tap filter per source.

    The pairing is the one of :func:`si_snr_improvement`, with the same errors. Computed in
    float64 by torchmetrics.
    """
    sources = batch["sources"]
    _refuse_silence(sources)
    _, pairing = best_pairing(estimates, sources)
    target = sources.double()
    mixture = batch["mixture"][:, None].expand_as(sources).double()
    after = _sdr(paired(estimates, pairing).double(), target)
    return (after - _sdr(mixture, target)).mean(1).to(estimates.dtype)


def _sdr(estimate: Tensor, target: Tensor) -> Tensor:
    return signal_distortion_ratio(estimate, target, filter_length=SDR_TAPS, load_diag=1e-10)


def _refuse_silence(sources: Tensor) -> None:
    silent = (sources == 0).all(-1).nonzero().tolist()
    if silent:
        item, source = silent[0]
        raise ValueError(
            f"source {source} of item {item} is silent, so no ratio to it exists: take such items "
            "out of the test set"
        )


class SISNRi(ValueMean):
    """Mean SI-SNR improvement, in dB."""

    higher_is_better = True

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """See :func:`si_snr_improvement`."""
        return si_snr_improvement(outputs["estimates"], batch)


class SDRi(ValueMean):
    """Mean SDR improvement with a 512-tap filter, in dB."""

    higher_is_better = True

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """See :func:`sdr_improvement`."""
        return sdr_improvement(outputs["estimates"], batch)


class ShareBelowZero(ValueMean):
    """Share of items that came out worse than the mixture (SI-SNRi below 0 dB), 0 to 1."""

    higher_is_better = False

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """1 for a failure, 0 else."""
        return (si_snr_improvement(outputs["estimates"], batch) < -ROUNDING_DB).float()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"si_snri": SISNRi(), "sdri": SDRi(), "share_below_0db": ShareBelowZero()}
