"""The mean of a value per item: independent of how items are cut into batches."""

from __future__ import annotations

import pytest
import torch

from mamba_core.training.mean_metric import ValueMean


class Value(ValueMean):
    higher_is_better = True

    def values(self, outputs, batch):
        assert not outputs["y"].requires_grad
        return outputs["y"]


class Marked(Value):
    def counted(self, batch):
        return batch["mark"]


@pytest.mark.parametrize("kind", [Value, Marked])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_is_the_mean_whatever_the_batch_size(kind, size):
    y = torch.randn(100, 3, requires_grad=True) * 1e3
    mark = torch.rand(100, 3) < 0.4
    y.data[~mark] = (
        y.data[~mark] if kind is Value else float("nan")
    )  # what does not count is not read
    metric = kind()
    for start in range(0, 100, size):
        part = slice(start, start + size)
        metric.update({"y": y[part]}, {"mark": mark[part]})
    chosen = y.detach() if kind is Value else y.detach()[mark]
    expected = chosen.double().mean().float()
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-7, atol=1e-7)


def test_nothing_counted_is_not_a_number():
    metric = Marked()
    metric.update({"y": torch.ones(2)}, {"mark": torch.zeros(2, dtype=torch.bool)})
    assert metric.compute().isnan()
