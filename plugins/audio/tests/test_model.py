"""The separator: published sizes, shapes, levels, and what it learns."""

from __future__ import annotations

import pytest
import soundfile as sf
import torch

from mamba_audio.separation.model import example
from mamba_audio.separation.objective import best_pairing, loss
from mamba_audio.separation.predict import FileSeparator
from mamba_core import registry
from mamba_core.testing import parametrize_task_checks
from mamba_core.testing.subject import TaskUnderTest


@parametrize_task_checks("audio-sep")
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("mamba_tasnet_xs", 2_210_176),
        ("mamba_tasnet_s", 7_926_528),
        ("mamba_tasnet_m", 15_647_488),
        ("mamba_tasnet_l", 58_951_168),
        ("libri8k_small", 893_392),
        ("single_1m", 1_115_696),
        ("single_1m_16k", 1_132_080),
        ("causal_1m", 1_101_080),
        ("dual_1m", 1_040_769),
        ("dpmamba_xs", 2_265_857),  # published: 2.3, 8.1, 15.9, 59.8 M
        ("dpmamba_s", 8_136_193),
        ("dpmamba_m", 15_869_441),
        ("dpmamba_l", 59_788_289),
        ("spmamba", 6_094_498),
        ("spmamba_linear", 5_988_820),
        ("spmamba_16k", 6_141_826),  # published: 6.14 M, of this window
        ("conv_tasnet_tiny", 339_545),
        ("conv_tasnet_1m", 1_150_205),
        ("conv_tasnet_1m_16k", 1_158_397),
        ("conv_tasnet_5m", 5_050_545),
        ("dprnn", 2_608_001),  # published: 2.6 M
    ],
)
def test_parameter_counts(preset, parameters):
    with torch.device("meta"):
        model = registry.build("audio-sep", preset=preset)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 160, 1001])
def test_every_length_keeps_its_length(tiny, samples):
    with torch.no_grad():
        estimates = tiny(torch.randn(1, samples))["estimates"]
    assert estimates.shape == (1, 2, samples)  # a batch of one keeps its axis


@pytest.mark.parametrize("preset", ["single_1m", "conv_tasnet_1m", "spmamba"])
def test_frames_at_16_khz_last_as_long_as_at_8(preset):
    usual, fast = (registry.config("audio-sep", preset=p) for p in (preset, f"{preset}_16k"))
    assert (usual.sample_rate, fast.sample_rate) == (8000, 16_000)
    for name in ("kernel_size", "stride"):
        assert getattr(fast, name) / 16_000 == getattr(usual, name) / 8000
    assert (fast.network, fast.mixer) == (usual.network, usual.mixer)


def test_three_voices_at_16_khz_from_a_batch_to_a_file(tmp_path):
    """Trains a step, and writes what it hears at the rate of the file."""
    torch.manual_seed(0)
    model = registry.build(
        "audio-sep", preset="single_1m_16k", sources=3, network={"depth": 1, "filters": 32}
    )
    batch = example(model.config, batch_size=1, generator=torch.Generator(), device="cpu")
    assert batch["mixture"].shape == (1, 4000)
    loss(model(batch["mixture"]), batch).backward()
    sf.write(tmp_path / "a.wav", batch["mixture"][0].numpy(), 16_000)
    (row,) = FileSeparator(model.eval()).run([tmp_path / "a.wav"], tmp_path / "out")
    assert len(row["outputs"]) == 3
    assert {(sf.info(f).samplerate, sf.info(f).frames) for f in row["outputs"]} == {(16_000, 4000)}


def test_three_sources():
    model = registry.build("audio-sep", preset="tiny", sources=3)
    assert model(torch.randn(2, 400))["estimates"].shape == (2, 3, 400)


def test_models_of_before_the_floor_of_silence_answer_as_they_did():
    """Only the start value of one parameter changed, so the golden file did and the task's version
    did not: these are four values of the golden file that came before."""
    subject = TaskUnderTest("audio-sep")
    model = subject.model()
    with torch.no_grad():
        model.network.norm.bias.zero_()
        estimates = subject.forward(model, subject.batch())["estimates"].flatten()
    places = torch.linspace(0, len(estimates) - 1, 16).long()[[0, 5, 10, 15]]
    expected = torch.tensor([-0.00146328, -0.00440364, 0.0156264, -0.000779164])
    torch.testing.assert_close(estimates[places], expected, rtol=1e-3, atol=1e-5)


def test_level_goes_through(tiny):
    wave = torch.randn(1, 1600)
    with torch.no_grad():
        one, loud = tiny(wave)["estimates"], tiny(1000 * wave)["estimates"]
        silent = tiny(torch.zeros(1, 1600))["estimates"]
    torch.testing.assert_close(loud, 1000 * one, rtol=1e-4, atol=1e-3)
    assert not silent.any()


def test_a_loud_neighbour_changes_nothing(tiny):
    wave = torch.randn(1, 1600)
    with torch.no_grad():
        alone = tiny(wave)["estimates"]
        beside = tiny(torch.cat([wave, 100 * torch.randn(1, 1600)]))["estimates"][:1]
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-5)


def test_a_reading_in_one_direction_sees_no_later_frame():
    model = registry.build("audio-sep", preset="tiny", scan_order="raster").eval()
    model = model.double()
    wave = torch.randn(1, 1600, dtype=torch.float64)
    changed = wave.clone()
    changed[:, 800:] = -changed[:, 800:]  # the same level: the model's scale is the whole's
    with torch.no_grad():
        first, second = model(wave)["estimates"], model(changed)["estimates"]
    torch.testing.assert_close(first[..., :768], second[..., :768], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(first[..., 800:], second[..., 800:])


@pytest.mark.parametrize(
    ("wave", "message"),
    [(torch.zeros(400), r"shape \(400,\)"), (torch.zeros(1, 0), "at least one sample")],
)
def test_wrong_shapes_are_named(tiny, wave, message):
    with pytest.raises(ValueError, match=message):
        tiny(wave)


def test_a_stride_beyond_the_kernel_is_refused():
    with pytest.raises(registry.ConfigError, match="stride = 40"):
        registry.config("audio-sep", preset="tiny", stride=40)


def test_bf16_autocast_trains():
    torch.manual_seed(0)
    model = registry.build("audio-sep", preset="tiny")
    batch = registry.example("audio-sep")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(batch["mixture"])
        value = loss({"estimates": outputs["estimates"].float()}, batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        assert value.isfinite()


@pytest.mark.slow
def test_overfits_eight_mixtures():
    torch.manual_seed(0)
    model = registry.build("audio-sep", preset="tiny", network={"filters": 64, "d_model": 64})
    batch = registry.example("audio-sep", batch_size=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss(model(batch["mixture"]), batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    best, _ = best_pairing(model(batch["mixture"])["estimates"], batch["sources"])
    assert best.mean() > 8
