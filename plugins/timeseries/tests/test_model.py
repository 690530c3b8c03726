"""The networks: published sizes, conformance, quantiles, scales, order of channels, stream."""

from __future__ import annotations

import pytest
import torch

from mamba_core import registry
from mamba_core.testing import parametrize_task_checks

PRESETS = [p for p in registry.spec("ts-forecast").presets if p != "tiny"]
ALONE = ["patch_decoder", "patch_transformer", "bi_mamba_plus", "dlinear"]


@parametrize_task_checks("ts-forecast")
def test_conformance(check):
    check()


def build(preset, **fields):
    torch.manual_seed(0)
    return registry.build("ts-forecast", preset=preset, **fields).eval()


def windows(config, batch=2, seed=0):
    example = registry.resolve(registry.spec("ts-forecast").example)
    generator = torch.Generator().manual_seed(seed)
    return example(config, batch_size=batch, generator=generator, device="cpu")


def forecast(model, batch):
    with torch.no_grad():
        return model(batch["past"], batch["observed"], batch["known"])


@pytest.mark.parametrize(
    ("preset", "parameters"), [("s_mamba", 1_145_696), ("time_machine", 1_425_844)]
)
def test_parameter_counts(preset, parameters):
    with torch.device("meta"):
        model = registry.build("ts-forecast", preset=preset, h=96, channels=7)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_forecasts_and_learns(preset):
    model = build(preset, channels=3, covariates=2, quantiles=(0.1, 0.5, 0.9), h=5)
    batch = windows(model.config)
    outputs = model.train()(batch["past"], batch["observed"], batch["known"])
    loss = registry.resolve(registry.spec("ts-forecast").loss)(outputs, batch)
    loss.backward()
    assert outputs["forecast"].shape == (2, 5, 3)
    assert outputs["quantiles"].shape == (2, 5, 3, 3)
    assert (outputs["quantiles"].diff(dim=-1) > 0).all()
    torch.testing.assert_close(outputs["quantiles"][..., 1], outputs["forecast"])
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("preset", [p for p in PRESETS if p not in ("dlinear",)])
def test_scale_and_level_go_through(preset):
    model = build(preset, channels=2, quantiles=(0.25, 0.5)).double()
    batch = {
        k: v.double() if v.is_floating_point() else v for k, v in windows(model.config).items()
    }
    one = forecast(model, batch)
    other = forecast(model, {**batch, "past": 50 * batch["past"] + 300})
    torch.testing.assert_close(
        other["quantiles"], 50 * one["quantiles"] + 300, rtol=2e-4, atol=2e-2
    )  # eps is not scaled


@pytest.mark.parametrize("preset", PRESETS)
def test_what_was_not_observed_has_no_influence(preset):
    model = build(preset, channels=2)
    batch = windows(model.config)
    changed = torch.where(batch["observed"], batch["past"], 1e6)
    one, other = forecast(model, batch), forecast(model, {**batch, "past": changed})
    torch.testing.assert_close(one["forecast"], other["forecast"], rtol=0, atol=0)


@pytest.mark.parametrize(
    "preset", ["patch_decoder", "patch_transformer", "bi_mamba_plus", "dlinear"]
)
def test_channels_by_themselves_do_not_see_each_other(preset):
    model = build(preset, channels=2)
    batch = windows(model.config)
    changed = batch["past"].clone()
    changed[..., 1] += 5 * torch.randn(changed.shape[:2])
    one, other = forecast(model, batch), forecast(model, {**batch, "past": changed})
    torch.testing.assert_close(one["forecast"][..., 0], other["forecast"][..., 0])
    assert not torch.allclose(one["forecast"][..., 1], other["forecast"][..., 1])


@pytest.mark.parametrize("preset", ["s_mamba", "cmamba", "mamba_ts"])
def test_channels_together_see_each_other(preset):
    model = build(preset, channels=3)
    batch = windows(model.config)
    changed = batch["past"].clone()
    changed[..., 0] += 5 * torch.randn(changed.shape[:2])
    one, other = forecast(model, batch), forecast(model, {**batch, "past": changed})
    assert not torch.allclose(one["forecast"][..., 2], other["forecast"][..., 2])


def test_known_columns_move_their_own_step():
    model = build("patch_decoder", covariates=1, norm="instance", h=6)
    batch = windows(model.config)
    known = batch["known"].clone()
    known[:, model.config.input_size + 2] += 3
    one, other = forecast(model, batch), forecast(model, {**batch, "known": known})
    moved = (one["forecast"] != other["forecast"])[0, :, 0]
    assert moved.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("norm", ["running", "none"])
@pytest.mark.parametrize("steps", [1, 7, 8, 9, 16, 61])
def test_a_stream_equals_the_whole(norm, steps):
    model = build("patch_decoder", input_size=steps + 1, norm=norm, quantiles=(0.1, 0.5))
    x = 40 + 3 * torch.randn(3, steps + 1)
    seen = torch.rand(3, steps + 1) > 0.2
    batch = {"past": x[..., None], "observed": seen[..., None], "known": torch.zeros(3, 0, 0)}
    whole = forecast(model, batch)
    with torch.no_grad():
        stream = model.start(3)
        for t in range(steps + 1):
            stream = model.read(x[:, t : t + 1], seen[:, t : t + 1], stream)
            told = model.tell(stream)
    for name, value in whole.items():
        torch.testing.assert_close(told[name], value, rtol=1e-5, atol=1e-4)
    assert stream.network.buffer.shape[1] <= model.config.network.patch


def test_a_stream_does_not_grow():
    model = build("patch_decoder")
    sizes = []
    stream = model.start(1)
    with torch.no_grad():
        for _ in range(3):
            stream = model.read(torch.randn(1, 40), torch.ones(1, 40, dtype=torch.bool), stream)
            sizes.append(stream.network.mixers.nbytes + stream.network.buffer.nbytes)
    assert sizes == sizes[:1] * 3


def test_what_cannot_stream_says_so():
    with pytest.raises(TypeError, match=r"'s_mamba'.*needs whole windows"):
        build("s_mamba").start(1)
    model = build("patch_decoder")
    with pytest.raises(ValueError, match="nothing was read yet"):
        model.tell(model.start(1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantiles": (0.5, 0.1)}, "must rise and hold 0.5"),
        ({"quantiles": (0.1, 0.9)}, "must rise and hold 0.5"),
        ({"columns": ("a", "b")}, "2 different names for channels = 1"),
        ({"norm": "running"}, "needs network.kind = 'patch_decoder'"),
        ({"network": {"kind": "dlinear", "average": 4}}, "must be odd"),
    ],
)
def test_what_does_not_fit_together(fields, message):
    with pytest.raises(registry.ConfigError, match=message):
        registry.config("ts-forecast", preset="s_mamba", **fields)


def test_a_window_of_another_size_is_named():
    model = build("tiny")
    with pytest.raises(ValueError, match="input_size = 24"):
        model(torch.zeros(1, 23, 1), torch.ones(1, 23, 1).bool(), torch.zeros(1, 31, 0))
