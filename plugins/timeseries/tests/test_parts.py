"""Parts of the networks: the forget-gated mixer, the tour of channels, scales, the fit."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import mamba_core
from mamba_core import registry
from mamba_core.mixers import MultiScan, build_mixer
from mamba_core.scan_orders import check_order
from mamba_timeseries.forecast import candidates
from mamba_timeseries.forecast import fit as fitting
from mamba_timeseries.forecast.config import ForecastData, ForecastTrain
from mamba_timeseries.forecast.data import ForecastDataset, Panel, WindowSplit
from mamba_timeseries.forecast.networks.base import cut, patches
from mamba_timeseries.forecast.normalise import RunningScale, window_scale
from mamba_timeseries.forecast.scale import SeriesScale
from mamba_timeseries.forecast.tour import (
    ChannelTour,
    TransitionCosts,
    cheapest_tour,
    tour_cost,
)


def plus(width=8):
    torch.manual_seed(0)
    return build_mixer({"name": "mamba-plus", "d_state": 4, "d_conv": 3}, width).double()


def test_mamba_plus_is_its_formula():
    mixer = plus()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    u, z = mixer.in_proj(x).chunk(2, -1)
    u = mixer.conv1d(F.pad(u.transpose(1, 2), (2, 0)))
    u = F.silu(u).transpose(1, 2)
    b, c = mixer.x_proj(u)[..., 1:].chunk(2, -1)
    h = torch.zeros(2, 16, 4, dtype=torch.float64)
    steps = []
    delta = F.softplus(F.linear(mixer.x_proj(u)[..., :1], mixer.dt_proj.weight, mixer.dt_proj.bias))
    for t in range(9):
        decay = torch.exp(delta[:, t, :, None] * mixer.A)
        h = decay * h + delta[:, t, :, None] * u[:, t, :, None] * b[:, t, None]
        steps.append((h * c[:, t, None]).sum(-1) + mixer.D * u[:, t])
    y = torch.stack(steps, 1)
    expected = mixer.out_proj(y * F.silu(z) + u * (1 - torch.sigmoid(z)))
    torch.testing.assert_close(mixer(x), expected)


def test_mamba_plus_streams_and_packs():
    mixer = plus()
    x = torch.randn(1, 11, 8, dtype=torch.float64)
    state, parts = mixer.init_state(1), []
    for piece in x.split([1, 6, 4], dim=1):
        y, state = mixer.prefill(piece, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), mixer(x))
    state = mixer.init_state(1)
    for t in range(11):
        y, state = mixer.step(x[:, t], state)
        torch.testing.assert_close(y, mixer(x)[:, t])
    packed = mixer(x, cu_seqlens=torch.tensor([0, 4, 11]))
    torch.testing.assert_close(packed[:, 4:], mixer(x[:, 4:]))


@pytest.mark.parametrize("share", ["projections", "all", "none"])
def test_mamba_plus_reads_several_paths(share):
    torch.manual_seed(0)
    scan = MultiScan(8, {"name": "mamba-plus"}, 2, merge="sum", share=share).double()
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    order = torch.stack([torch.arange(7), torch.arange(7).flip(0)])
    first = scan.mixer(x)
    other = {"none": scan.others[0] if share == "none" else None, "all": scan.mixer}.get(share)
    if other is not None:
        expected = first + other(x.flip(1)).flip(1)
        torch.testing.assert_close(scan(x, order=order), expected)
    assert scan(x, order=order).shape == x.shape


def test_a_tour_is_an_order_of_all_tokens():
    tours = torch.tensor([[2, 0, 1], [0, 1, 2]])
    order = ChannelTour()({"tour": tours, "patches": torch.tensor(2)})
    assert order.tolist() == [[4, 5, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    check_order(order, 6)


def test_costs_go_to_their_own_transitions():
    costs = TransitionCosts(3)
    costs.add(torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.tensor([1.0, 3.0]))
    mean = costs.mean()
    assert mean[0, 1] == mean[1, 2] == mean[0, 0] == -1
    assert mean[2, 1] == mean[1, 0] == mean[2, 2] == 1
    assert mean[0, 2] == mean[2, 0] == mean[1, 1] == 0  # never seen: an average one


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_the_tour_is_the_cheapest(channels):
    for seed in range(5):
        costs = np.random.default_rng(seed).normal(size=(channels, channels))
        tour = cheapest_tour(costs)
        assert sorted(tour) == list(range(channels))
        best = min(tour_cost(costs, np.array(p)) for p in itertools.permutations(range(channels)))
        assert tour_cost(costs, tour) == pytest.approx(best, abs=0.5 if channels > 3 else 1e-9)


def test_patches_cover_the_window():
    for size, patch, stride in itertools.product((1, 5, 16, 17, 23), (4, 16), (4, 3)):
        z = torch.arange(1.0, size + 1)[None, :, None]
        out = cut(z, patch, stride)
        assert out.shape == (1, 1, patches(size, patch, stride), patch)
        assert set(out.flatten().tolist()) == set(range(1, size + 1)) or stride > patch


def test_running_scale_is_the_plain_formula():
    x = 1e4 + torch.randn(3, 20)
    seen = torch.rand(3, 20) > 0.3
    z, after = RunningScale.start(3, x.device).read(x, seen)
    for row, step in itertools.product(range(3), range(20)):
        known = x[row, : step + 1][seen[row, : step + 1]].double()
        if seen[row, step]:
            spread = (known.var(correction=0) + 1e-5).sqrt()
            expected = (x[row, step] - known.mean()) / spread
            torch.testing.assert_close(z[row, step].double(), expected, rtol=1e-4, atol=1e-4)
        else:
            assert z[row, step] == 0
    center, _ = after.now()
    torch.testing.assert_close(center[0], x[0][seen[0]].double().mean())


def test_a_window_without_any_observation_is_finite():
    center, scale = window_scale(torch.full((1, 4, 1), torch.nan), torch.zeros(1, 4, 1).bool())
    assert center.item() == 0
    assert scale.isfinite().all()


def panel(steps=120, channels=3):
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(steps)[:, None] / 3 + np.arange(channels)).astype(np.float32)
    values += 0.05 * rng.normal(size=values.shape).astype(np.float32)
    seen = np.ones(values.shape, dtype=bool)
    known = np.zeros((steps, 0), np.float32)
    scales = (SeriesScale(0.0, 1.0, np.empty(0)),) * channels
    return Panel(tuple("abc"[:channels]), values, seen, known, scales, 0, (80, 100, 120))


def splits(config):
    return [WindowSplit([panel()], config, part) for part in range(3)]


def test_windows_of_the_parts():
    config = registry.config("ts-forecast", preset="s_mamba", channels=3, input_size=12, h=4)
    train, val, test = splits(config)
    assert (len(train), len(val), len(test)) == (80 - 15, 17, 17)
    sample = val.sample(0, 0)
    np.testing.assert_array_equal(sample["past"], panel().values[68:80])
    np.testing.assert_array_equal(sample["target"], panel().values[80:84])
    last = test.sample(0, 16)
    np.testing.assert_array_equal(last["target"], panel().values[116:120])
    with pytest.raises(IndexError):
        test.sample(0, 17)


def test_a_short_series_is_padded_in_front():
    config = registry.config("ts-forecast", preset="s_mamba", channels=3, input_size=200, h=4)
    train = splits(config)[0]
    assert len(train) == 1
    sample = train.sample(0, 0)
    assert sample["past"].shape == (200, 3)
    assert sample["observed"].sum(0).tolist() == [76, 76, 76]


def test_fit_learns_and_keeps_the_best():
    config = registry.config(
        "ts-forecast", preset="dlinear", channels=3, input_size=24, h=4, network={"average": 5}
    )
    train, val, _ = splits(config)
    model = registry.build("ts-forecast", config=config)
    before = fitting.mean_loss(model, val)
    told = []
    result = fitting.fit(
        model, train, val, ForecastTrain(max_steps=60, lr=0.01, warmup_steps=5, val_every=20),
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert result.loss < 0.2 * before
    assert result.loss == pytest.approx(fitting.mean_loss(model, val))
    assert told[-1] == ("training", result.steps, 60)


def test_fit_is_repeatable():
    config = registry.config("ts-forecast", preset="patch_decoder", channels=3, input_size=24, h=4)
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        model = registry.build("ts-forecast", config=config)
        train, val, _ = splits(config)
        fitting.fit(model, train, val, ForecastTrain(max_steps=5))
        states.append(model.state_dict())
    assert all(torch.equal(a, states[1][n]) for n, a in states[0].items())


def test_the_tour_is_learnt_and_saved(tmp_path):
    config = registry.config(
        "ts-forecast", preset="mamba_ts", channels=3, input_size=16, h=4, network={"patch": 8}
    )
    torch.manual_seed(0)
    model = registry.build("ts-forecast", config=config).eval()
    train = splits(config)[0]
    fitting.fit_tour(model, train, rounds=2)
    assert sorted(model.network.tour.tolist()) == [0, 1, 2]
    assert "network.tour" in model.state_dict()
    with pytest.raises(TypeError, match="only 'mamba_ts' does"):
        fitting.fit_tour(registry.build("ts-forecast", preset="tiny"), train)


@pytest.mark.slow
def test_training_from_the_command_line_learns_the_tour_too(tmp_path):
    pytest.importorskip("lightning")
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=160, freq="h")
    wide = {name: np.sin(np.arange(160) / 3 + k) for k, name in enumerate("abcd")}
    table = pd.DataFrame({"date": times, **wide})
    table[list("abcd")] += 0.05 * rng.normal(size=(160, 4))
    table.to_csv(tmp_path / "wide.csv", index=False)
    fields = {"channels": 4, "input_size": 16, "h": 4, "network": {"patch": 8, "depth": 1}}
    train = {"max_steps": 3, "batch_size": 4, "ema": None, "device": "cpu", "seed": 1}
    result = mamba_core.train(
        "ts-forecast", preset="mamba_ts", model=fields, train=train,
        data={"path": tmp_path / "wide.csv"}, out=tmp_path / "run",
    )  # fmt: skip
    model = mamba_core.from_pretrained(result.model)
    assert model.config.columns == ("a", "b", "c", "d")
    kept = model.network.tour.clone()
    data = ForecastDataset(ForecastData(path=tmp_path / "wide.csv"), model.config)
    fitting.fit_tour(model, data.train(seed=1), seed=1)
    assert kept.tolist() == model.network.tour.tolist() != [0, 1, 2, 3]
    measured = mamba_core.evaluate(result.folder, split="val", device="cpu", batch_size=9)
    assert result.metrics["mse"] == pytest.approx(measured.metrics["mse"], rel=1e-5)


def test_channels_are_mixed_where_they_are_alike():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(300, 1))
    alike = one + 0.1 * rng.normal(size=(300, 4))
    strange = rng.normal(size=(300, 4))
    assert fitting.are_alike(alike)
    assert not fitting.are_alike(strange)
    assert fitting.share_of_alike(one) == 0


@pytest.mark.parametrize("mixed", [True, False])
def test_bi_mamba_plus_decides_by_the_training_rows(mixed):
    config = registry.config(
        "ts-forecast", preset="bi_mamba_plus", channels=3, input_size=16, h=4,
        network={"patch": 8, "stride": 4},
    )  # fmt: skip
    values = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    if mixed:  # in the training rows only
        values[:80] = values[:80, :1] + 0.1 * values[:80]
    torch.manual_seed(0)
    model = registry.build("ts-forecast", config=config).eval()
    candidates.begin(model, [dataclasses.replace(panel(), values=values)])
    assert bool(model.state_dict()["network.mixed"]) is mixed
    past = torch.randn(2, 16, 3)
    other = past.clone()
    other[..., 0] = torch.randn(2, 16)
    seen, known = torch.ones_like(past, dtype=torch.bool), torch.zeros(2, 20, 0)
    one, two = (model(p, seen, known)["forecast"][..., 1] for p in (past, other))
    assert torch.equal(one, two) is not mixed
