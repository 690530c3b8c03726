"""The harness itself: its oracle rows are the published ones, its groups those of the protocol."""

from __future__ import annotations

import pytest
import torch

from mamba_audio.separation.benchmark import libri8k as frozen
from mamba_audio.separation.benchmark import oracle, score, speaker_pitch, trained
from mamba_audio.separation.metrics import sdr_improvement
from mamba_core import registry

PUBLISHED = {
    "mixture": (0.0, 0.0, 0.0),
    "irm": (13.49, 13.49, 10.95),
    "ibm": (14.23, 14.23, 11.53),
    "psm": (15.47, 15.42, 12.79),
}
"""Mean, median and 10th percentile of SI-SNRi in dB on the 300 mixtures."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", PUBLISHED)
def test_oracle_rows(libri8k, kind):
    scores = score(oracle(kind), frozen(libri8k), sdr=False)
    assert scores.items == 300
    assert (scores.si_snri, scores.median, scores.p10) == pytest.approx(PUBLISHED[kind], abs=0.01)


@pytest.mark.slow
def test_ratio_mask_by_pitch_group(libri8k):
    pitch = speaker_pitch(libri8k / "speakers_test.csv")
    groups = score(oracle("irm"), frozen(libri8k), pitch=pitch, sdr=False).groups
    assert groups == pytest.approx({"mixed": 13.49, "high/high": 13.82, "low/low": 12.59}, abs=0.01)


@pytest.mark.slow
def test_the_shipped_weights_score_what_they_say(libri8k):
    spec = registry.spec("audio-sep")
    model = registry.build("audio-sep", pretrained=True)
    scores = score(trained(model), frozen(libri8k), sdr=False)
    stated = spec.weights[0].metrics
    assert scores.si_snri == pytest.approx(stated["si_snri"], abs=0.01)
    assert scores.share_below_0db == pytest.approx(stated["share_below_0db"], abs=0.01)


def test_oracles_separate_made_up_voices():
    batch = registry.example("audio-sep", batch_size=2)
    for kind in ("irm", "ibm", "psm"):
        estimates = oracle(kind)(batch)
        assert estimates.shape == batch["sources"].shape
        like = {name: value.double() for name, value in batch.items()}
        assert (sdr_improvement(estimates, like) > 5).all()


def test_an_unknown_oracle_is_named():
    with pytest.raises(ValueError, match="'ibn': choose one of"):
        oracle("ibn")


def test_trained_gives_one_estimate_per_source(tiny):
    estimates = trained(tiny)({"mixture": torch.randn(1, 800)})
    assert estimates.shape == (1, 2, 800)
