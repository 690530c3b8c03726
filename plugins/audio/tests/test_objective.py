"""SI-SNR, its best pairing and the metrics, against formulas written another way."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from mamba_audio.separation.metrics import ShareBelowZero, SISNRi, metrics, sdr_improvement
from mamba_audio.separation.objective import best_pairing, loss, paired, si_snr


def _waves(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_si_snr_is_the_ratio_of_projection_and_rest():
    estimate, target = _waves(800, seed=1), _waves(800, seed=2)
    e, t = (x.numpy() - x.numpy().mean() for x in (estimate, target))
    along = (e @ t) / (t @ t) * t
    expected = 10 * np.log10((along @ along) / ((e - along) @ (e - along)))
    assert si_snr(estimate, target).item() == pytest.approx(expected, abs=1e-6)


def test_si_snr_ignores_scale_and_offset():
    estimate, target = _waves(800, seed=1), _waves(800, seed=2)
    expected = si_snr(estimate, target)
    torch.testing.assert_close(si_snr(-7 * estimate + 3, 0.2 * target - 1), expected)


@pytest.mark.parametrize("sources", [2, 3, 4, 5])
def test_best_pairing_is_the_best_of_all(sources):
    estimates, targets = _waves(3, sources, 400, seed=1), _waves(3, sources, 400, seed=2)
    best, pairing = best_pairing(estimates, targets)
    for item in range(3):
        tried = [
            np.mean([si_snr(estimates[item, e], targets[item, s]).item() for s, e in enumerate(p)])
            for p in permutations(range(sources))
        ]
        assert best[item].item() == pytest.approx(max(tried))
    again = si_snr(paired(estimates, pairing), targets).mean(1)
    torch.testing.assert_close(again, best)


def test_gradient_flows_through_the_chosen_pairing_only():
    targets = _waves(1, 2, 400, seed=1)
    estimates = (targets.flip(1) + 0.3 * _waves(1, 2, 400, seed=2)).requires_grad_()
    best, pairing = best_pairing(estimates, targets)
    assert pairing.tolist() == [[1, 0]]
    (grad,) = torch.autograd.grad(best.sum(), estimates)
    fixed = si_snr(estimates.flip(1), targets).mean(1)
    (expected,) = torch.autograd.grad(fixed.sum(), estimates)
    torch.testing.assert_close(grad, expected)


def test_the_training_cap_bounds_the_loss_and_the_metric_has_none():
    sources = _waves(2, 2, 400, seed=1).float()
    perfect = {"estimates": sources.clone()}
    batch = {"sources": sources, "mixture": sources.sum(1)}
    assert loss(perfect, batch).item() == pytest.approx(-30, abs=0.1)
    score = SISNRi()
    score.update(perfect, batch)
    assert score.compute() > 60


def test_the_mixture_improves_on_itself_by_nothing():
    sources = _waves(4, 2, 2000, seed=1).float()
    batch = {"sources": sources, "mixture": sources.sum(1)}
    itself = {"estimates": batch["mixture"][:, None].expand_as(sources)}
    for name, metric in metrics().items():
        metric.update(itself, batch)
        assert metric.compute().item() == pytest.approx(0, abs=1e-3), name


def test_share_below_zero_counts_items():
    sources = _waves(2, 2, 2000, seed=1).float()
    batch = {"sources": sources, "mixture": sources.sum(1)}
    estimates = torch.stack([sources[0], _waves(2, 2000, seed=9).float()])
    share = ShareBelowZero()
    share.update({"estimates": estimates}, batch)
    assert share.compute() == 0.5


def test_sdr_forgives_a_short_filter_that_si_snr_does_not():
    sources = _waves(1, 2, 8000, seed=1).float()
    batch = {"sources": sources, "mixture": sources.sum(1)}
    coloured = sources + 0.9 * torch.nn.functional.pad(sources, (3, 0))[..., :8000]
    assert sdr_improvement(coloured, batch).item() > 30
    assert SISNRi().values({"estimates": coloured}, batch).item() < 3


def test_a_silent_source_is_an_error_not_a_number():
    sources = torch.stack([torch.zeros(1, 400), torch.ones(1, 400)], dim=1)
    batch = {"sources": sources, "mixture": sources.sum(1)}
    with pytest.raises(ValueError, match="source 0 of item 0 is silent"):
        SISNRi().update({"estimates": sources}, batch)


def test_a_wrong_number_of_sources_is_named():
    with pytest.raises(ValueError, match="as many sources"):
        best_pairing(torch.zeros(1, 3, 100), torch.zeros(1, 2, 100))
