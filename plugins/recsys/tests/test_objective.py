"""Losses in chunks and over drawn items, against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mamba_recsys.next_item import softmax
from mamba_recsys.next_item.config import Binary
from mamba_recsys.next_item.data import power
from mamba_recsys.next_item.objective import IGNORE, loss


def case(tokens=37, items=50, d=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, d, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(items, d, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(items, (tokens,), generator=generator)
    targets[::5] = IGNORE
    return {"hidden": hidden, "item_vectors": table}, {"targets": targets}


def plain(outputs, batch):
    logits = outputs["hidden"] @ outputs["item_vectors"].T
    return F.cross_entropy(logits, batch["targets"], ignore_index=IGNORE)


def gradients(value, outputs):
    return torch.autograd.grad(value, list(outputs.values()))


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunks_give_the_whole(monkeypatch, rows):
    monkeypatch.setattr(softmax, "CHUNK", rows * 50)
    monkeypatch.setattr(softmax, "ROWS", 1)
    outputs, batch = case()
    value, expected = loss(outputs, batch), plain(outputs, batch)
    torch.testing.assert_close(value, expected)
    pairs = zip(gradients(3 * value, outputs), gradients(3 * expected, outputs), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_half_precision_sums_in_float32():
    outputs, batch = case(tokens=300, dtype=torch.float32)
    half = {name: value.bfloat16() for name, value in outputs.items()}
    assert loss(half, batch).dtype == torch.float32
    torch.testing.assert_close(loss(half, batch), loss(outputs, batch), rtol=2e-2, atol=2e-2)


def test_autocast_makes_the_products_in_half_precision():
    outputs, batch = case(tokens=300, dtype=torch.float32)
    exact = loss(outputs, batch)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(outputs, batch)
    assert value.dtype == torch.float32
    assert value != exact
    torch.testing.assert_close(value, exact, rtol=1e-3, atol=1e-3)
    for one, other in zip(gradients(value, outputs), gradients(exact, outputs), strict=True):
        assert (one - other).norm() < 0.01 * other.norm()


def test_far_logits_keep_their_loss():
    outputs, batch = case(dtype=torch.float32)
    outputs["hidden"] = (outputs["hidden"] * 1000).detach().requires_grad_()
    torch.testing.assert_close(loss(outputs, batch), plain(outputs, batch))


def test_all_logits_are_never_held(monkeypatch):
    monkeypatch.setattr(softmax, "CHUNK", 1)
    monkeypatch.setattr(softmax, "ROWS", 4)
    largest = []
    real = torch.Tensor.softmax

    def spy(self, *args, **kwargs):
        largest.append(self.numel())
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "softmax", spy)
    outputs, batch = case(tokens=400)
    loss(outputs, batch)
    assert max(largest) == 4 * 50


def test_every_item_drawn_once_is_the_full_softmax():
    outputs, batch = case()
    drawn = {"negatives": torch.arange(50), "log_expected": torch.zeros(50)}
    torch.testing.assert_close(loss(outputs, {**batch, **drawn}), plain(outputs, batch))


def test_the_correction_makes_the_partition_unbiased():
    outputs, _ = case(tokens=1, items=20)
    targets = torch.tensor([3])
    scores = (outputs["hidden"] @ outputs["item_vectors"].T).detach()[0]
    p = torch.softmax(torch.arange(20.0).double() / 5, 0)
    generator = torch.Generator().manual_seed(1)
    sums = {}
    for name in ("corrected", "plain"):
        total = 0.0
        for _ in range(2000):
            drawn = torch.multinomial(p, 10, replacement=True, generator=generator)
            log = (10 * p).log()[drawn] if name == "corrected" else torch.zeros(10)
            value = softmax.sampled_cross_entropy(
                outputs["hidden"].detach(), outputs["item_vectors"].detach(), targets, drawn, log
            )
            total += float((value + scores[3]).exp()) / 2000
        sums[name] = total
    full = float(scores.exp().sum())
    assert sums["corrected"] == pytest.approx(full, rel=0.05)
    assert abs(sums["plain"] / full - 1) > 0.1


def test_binary_by_hand():
    outputs, batch = case(tokens=10)
    negatives = torch.randint(50, (10, 3), generator=torch.Generator().manual_seed(2))
    drawn = {"negatives": negatives, "power": torch.tensor(0.3)}
    expected, count = 0.0, 0
    for t, target in enumerate(batch["targets"].tolist()):
        if target == IGNORE:
            continue
        h, table = outputs["hidden"][t], outputs["item_vectors"]
        expected = expected - 0.3 * torch.log(torch.sigmoid(h @ table[target]))
        for n in negatives[t].tolist():
            if n != target:
                expected = expected - torch.log(1 - torch.sigmoid(h @ table[n]))
        count += 1
    torch.testing.assert_close(loss(outputs, {**batch, **drawn}), expected / (4 * count))


def test_calibrated_power():
    assert power(Binary(), 101) == 1.0
    # all negatives drawn: nothing to calibrate; else the target's probability is damped
    assert power(Binary(negatives=100, calibration=1.0), 101) == pytest.approx(1.0)
    assert power(Binary(negatives=10, calibration=1.0), 101) == pytest.approx(0.1)
    assert power(Binary(negatives=10, calibration=0.75), 101) == pytest.approx(0.325)


def test_no_target_is_no_loss():
    outputs, batch = case()
    batch["targets"][:] = IGNORE
    value = loss(outputs, batch)
    assert float(value.detach()) == 0
    assert not gradients(value, outputs)[0].any()
