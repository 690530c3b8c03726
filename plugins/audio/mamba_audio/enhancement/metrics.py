"""How clean speech became: PESQ, STOI and SI-SNR improvement, by the packages of their field."""

from __future__ import annotations

import importlib.util

import torch
import torchmetrics
from torch import Tensor

from mamba_audio.separation.objective import si_snr
from mamba_core.training import ValueMean
from mamba_registry.errors import DependencyMissingError
from mamba_registry.lookup import install_line

PESQ_MODES = {8000: "nb", 16_000: "wb"}
"""Sample rates that PESQ (ITU-T P.862, P.862.2) is defined for."""

_SILENCE = 1.0


def pesq_score(enhanced: Tensor, clean: Tensor, rate: int) -> Tensor:
    """Return PESQ per item: narrow band at 8 kHz, wide band at 16 kHz.

    :param enhanced: ``(batch, samples)``, a quarter of a second at least.
    :returns: float64 ``(batch,)``: predicted opinions (MOS-LQO), 1 for silence to about 4.6.
    :raises ValueError: for another rate, for NaN, and for clean speech without an utterance.
    """
    from pesq import NoUtterancesError, pesq

    if rate not in PESQ_MODES:
        raise ValueError(f"PESQ is defined at 8000 and 16000 Hz, not at {rate}: resample first")
    if not enhanced.isfinite().all():
        raise ValueError("the enhanced speech holds NaN or infinity")
    values: list[float] = []
    for index, (one, target) in enumerate(zip(_arrays(enhanced), _arrays(clean), strict=True)):
        if not one.any():  # the package fails on it; a young model may well answer so
            values.append(_SILENCE)
            continue
        try:
            values.append(pesq(rate, target, one, PESQ_MODES[rate]))
        except NoUtterancesError as error:
            raise ValueError(
                f"item {index}: PESQ finds no utterance in it: take it out of the test set"
            ) from error
    return torch.tensor(values, dtype=torch.float64)


def stoi_score(enhanced: Tensor, clean: Tensor, rate: int) -> Tensor:
    """Return STOI per item (Taal et al., 2011), float64 ``(batch,)``, nearly 0 to 1."""
    from pystoi import stoi

    pairs = zip(_arrays(clean), _arrays(enhanced), strict=True)
    return torch.tensor([stoi(target, one, rate) for target, one in pairs], dtype=torch.float64)


def _arrays(waves: Tensor) -> list:
    return list(waves.detach().double().cpu().numpy())


class PESQ(ValueMean):
    """Mean of :func:`pesq_score`."""

    higher_is_better = True

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """See :func:`pesq_score`."""
        return pesq_score(outputs["enhanced"], batch["clean"], int(batch["rate"][0]))


class STOI(ValueMean):
    """Mean of :func:`stoi_score`."""

    higher_is_better = True

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """See :func:`stoi_score`."""
        return stoi_score(outputs["enhanced"], batch["clean"], int(batch["rate"][0]))


class SISNRi(ValueMean):
    """Mean SI-SNR over that of the noisy recording, in dB."""

    higher_is_better = True

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """Improvement per item."""
        clean = batch["clean"]
        return si_snr(outputs["enhanced"], clean) - si_snr(batch["noisy"], clean)


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score.

    :raises DependencyMissingError: without the packages of PESQ and STOI.
    """
    missing = [name for name in ("pesq", "pystoi") if importlib.util.find_spec(name) is None]
    if missing:
        line = install_line("'mamba-audio[enhance]'")
        raise DependencyMissingError(
            f"Measuring enhanced speech needs {' and '.join(missing)} (pesq is compiled when it is "
            f"installed and needs a C compiler): {line}"
        )
    return {"pesq": PESQ(), "stoi": STOI(), "si_snri": SISNRi()}
