"""The networks between encoder and decoder: what each may see, and how they are chosen."""

from __future__ import annotations

import pytest
import torch

from mamba_audio.separation.model import example
from mamba_audio.separation.networks.dual_path import cut, join
from mamba_audio.separation.networks.norms import CumulativeNorm, GlobalNorm
from mamba_audio.separation.objective import loss
from mamba_core import registry

NETWORKS = {
    "single_path": {"kind": "single_path", "filters": 24, "d_model": 16, "depth": 2},
    "dual_path": {"kind": "dual_path", "filters": 24, "d_model": 16, "depth": 2, "chunk": 10},
    "time_frequency": {"kind": "time_frequency", "channels": 4, "depth": 2, "window": 3},
    "conv_tasnet": {
        "kind": "conv_tasnet",
        "filters": 24,
        "bottleneck": 8,
        "hidden": 16,
        "blocks": 3,
        "repeats": 2,
    },
    "dprnn": {"kind": "dprnn", "filters": 24, "d_model": 8, "hidden": 8, "depth": 2, "chunk": 10},
}
"""Small ones of every kind."""


def build(kind, *, network=None, **fields):
    """Return a small model in eval mode, the same one every time."""
    torch.manual_seed(0)
    network = NETWORKS[kind] | (network or {})
    return registry.build("audio-sep", preset="mamba_tasnet_xs", network=network, **fields).eval()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("samples", [1, 15, 801])
def test_every_network_keeps_every_length(kind, samples):
    with torch.no_grad():
        estimates = build(kind, sources=3)(torch.randn(2, samples))["estimates"]
    assert estimates.shape == (2, 3, samples)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("causal", [False, True])
def test_every_parameter_that_may_learn_does(kind, causal):
    model = build(kind, causal=causal).train()
    model(torch.randn(2, 801))["estimates"].square().mean().backward()
    unreached = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unreached


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_loud_neighbour_changes_nothing(kind):
    model, wave = build(kind), torch.randn(1, 801)
    with torch.no_grad():
        alone = model(wave)["estimates"]
        beside = model(torch.cat([wave, 100 * torch.randn(1, 801)]))["estimates"][:1]
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("causal", [False, True])
def test_level_goes_through(kind, causal):
    model, wave = build(kind, causal=causal), 0.03 * torch.randn(1, 801)
    with torch.no_grad():
        one, loud = model(wave)["estimates"], model(100 * wave)["estimates"]
        assert not model(torch.zeros(1, 801))["estimates"].any()
    torch.testing.assert_close(loud, 100 * one, rtol=2e-2, atol=2e-2 * float(loud.abs().mean()))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("where", [64, 403, 700])
def test_a_causal_model_sees_no_later_sample(kind, where):
    """The future is made a million times louder: a norm over time would show it."""
    model = build(kind, causal=True).double()
    wave = torch.randn(1, 801, dtype=torch.float64)
    changed = wave.clone()
    changed[:, where:] *= -1e6
    with torch.no_grad():
        first, second = model(wave)["estimates"], model(changed)["estimates"]
    past = where - model.latency + 1
    assert torch.equal(first[..., :past], second[..., :past])
    assert not torch.allclose(first[..., where:], second[..., where:])


@pytest.mark.parametrize("kind", NETWORKS)
def test_others_do_see_later_samples(kind):
    """Or the test above would pass for a model that looks at nothing."""
    model, wave = build(kind), torch.randn(1, 801)
    changed = wave.clone()
    changed[:, 700:] *= -1  # the same level
    with torch.no_grad():
        first, second = model(wave)["estimates"], model(changed)["estimates"]
    assert not torch.allclose(first[..., :600], second[..., :600], rtol=1e-3)


@pytest.mark.parametrize("frames", [1, 4, 5, 6, 23])
@pytest.mark.parametrize("chunk", [2, 10])
def test_every_frame_lies_in_two_chunks(frames, chunk):
    x = torch.randn(2, 3, frames)
    torch.testing.assert_close(join(cut(x, chunk), frames), 2 * x)


def test_global_norm():
    norm, x = GlobalNorm(4), 3 + 5 * torch.randn(2, 4, 50)
    y = norm(x)
    torch.testing.assert_close(y.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.square().mean((1, 2)), torch.ones(2), atol=1e-4, rtol=0)
    assert norm(x[..., None]).shape == (2, 4, 50, 1)


def test_cumulative_norm_is_the_norm_of_every_prefix():
    norm, x = CumulativeNorm(4).double(), 3 + 5 * torch.randn(2, 4, 20, dtype=torch.float64)
    y = norm(x)
    for stop in (1, 7, 20):
        prefix = x[..., :stop]
        mean, std = prefix.mean((1, 2)), prefix.var((1, 2), correction=0).sqrt()
        expected = (x[..., stop - 1] - mean[:, None]) / std[:, None]
        torch.testing.assert_close(y[..., stop - 1], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sources", [2, 3, 5])
def test_another_rate_and_more_voices_train(sources):
    model = build("conv_tasnet", sources=sources, sample_rate=16_000).train()
    batch = example(model.config, batch_size=2, generator=torch.Generator(), device="cpu")
    assert batch["mixture"].shape == (2, 4000)
    value = loss(model(batch["mixture"]), batch)
    value.backward()
    assert value.isfinite()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_kind_replaces_the_preset_s_network():
    config = registry.config("audio-sep", preset="mamba_tasnet_xs", network={"kind": "dprnn"})
    assert (config.network.kind, config.network.filters) == ("dprnn", 64)
    config = registry.config("audio-sep", preset="mamba_tasnet_xs", network={"depth": 3})
    assert (config.network.kind, config.network.depth, config.network.filters) == (
        "single_path",
        3,
        128,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": {"kind": "conv_tasnet"}, "mixer": "mamba2"}, "does not use mixer"),
        ({"network": {"kind": "lstm"}}, "does not match any of the expected tags"),
        ({"network": {"kind": "dual_path", "chunk": 9}}, "multiple of 2"),
        ({"causal": True, "scan_order": "reverse"}, "a causal model reads forward only"),
    ],
)
def test_contradictions_are_named(fields, message):
    with pytest.raises(registry.ConfigError, match=message):
        registry.config("audio-sep", preset="mamba_tasnet_xs", **fields)


def test_the_old_names_of_the_shipped_weights_are_read():
    assert registry.build("audio-sep", pretrained=True).config.network.kind == "single_path"


def _gradient_norms(model, sources, steps=3):
    """The norms of the gradients of a few training steps."""
    optimizer, norms = torch.optim.Adam(model.parameters(), lr=1e-3), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(sources.sum(1)), {"sources": sources}).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)))
        optimizer.step()
    return norms


MAMBA1 = {"name": "mamba1"}
MAMBA2 = {"name": "mamba2", "headdim": 8}
DEEP = {
    "single path, mamba1": ("single_path", {"network": {"depth": 8}, "mixer": MAMBA1}),
    "single path, mamba2": ("single_path", {"network": {"depth": 8}, "mixer": MAMBA2}),
    "dual path": ("dual_path", {"network": {"depth": 4}, "mixer": MAMBA2}),
    "spectra": (
        "time_frequency",
        {"network": {"channels": 8, "window": 2}, "mixer": MAMBA2, "stride": 16},
    ),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("kind", "fields"), DEEP.values(), ids=DEEP)
def test_silence_does_not_blow_up_the_gradients_of_a_deep_network(kind, fields, causal):
    """Tokens of zero would, digital silence or padding: each norm multiplies their gradient by
    1 / sqrt(eps)."""
    sources = 0.1 * torch.randn(1, 2, 800, generator=torch.Generator().manual_seed(0))
    usual = _gradient_norms(build(kind, causal=causal, **fields).train(), sources)
    sources[..., :250] = sources[..., 450:550] = sources[..., -100:] = 0
    found = _gradient_norms(build(kind, causal=causal, **fields).train(), sources)
    assert max(found) < 5 * max(usual)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("causal", [False, True])
def test_a_silent_mixture_gives_no_gradient_and_no_nan(kind, causal):
    silence = torch.zeros(1, 2, 801)
    assert _gradient_norms(build(kind, causal=causal).train(), silence, steps=1) == [0]
