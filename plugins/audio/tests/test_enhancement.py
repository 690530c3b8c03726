"""Enhancement: model, noises, data, loss, metrics, baseline and files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile as sf
import torch

from mamba_audio.enhancement.baseline import spectral_subtraction
from mamba_audio.enhancement.benchmark import libri8k_noisy, score
from mamba_audio.enhancement.config import (
    EnhancementData,
    EnhancerConfig,
    EnhancerPredict,
    NoisyFolders,
    NoisySpeech,
)
from mamba_audio.enhancement.data import EnhancementDataset
from mamba_audio.enhancement.noises import _MAKERS, make_noise
from mamba_audio.enhancement.objective import loss, terms
from mamba_audio.enhancement.predict import FileEnhancer
from mamba_audio.enhancement.spectra import CompressedSpectra
from mamba_audio.separation.objective import si_snr
from mamba_core import registry
from mamba_core.testing import parametrize_task_checks

RATE = 8000


@parametrize_task_checks("audio-enhance")
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    ("preset", "parameters"), [("semamba", 2_257_932), ("libri8k_small", 142_508)]
)
def test_parameter_counts(preset, parameters):
    """SEMamba's published size is 2.25 M."""
    with torch.device("meta"):
        model = registry.build("audio-enhance", preset=preset)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("samples", [1, 127, 801])
def test_every_length_keeps_its_length(samples):
    model = registry.build("audio-enhance", preset="tiny").eval()
    with torch.no_grad():
        assert model(torch.randn(2, samples))["enhanced"].shape == (2, samples)
        assert not model(torch.zeros(1, samples))["enhanced"].any()


def test_silence_gives_no_gradient_that_stands_out():
    batch, norms = registry.example("audio-enhance"), []
    for silent in (0, 6000, RATE):
        for name in ("noisy", "clean"):
            batch[name][:, :silent] = 0
        torch.manual_seed(0)
        model = registry.build("audio-enhance", preset="tiny")
        loss(model(batch["noisy"]), batch).backward()
        norms.append(float(torch.nn.utils.get_total_norm(p.grad for p in model.parameters())))
    assert norms[1] < 5 * norms[0]
    assert norms[2] == 0


def test_levels_go_through():
    model, wave = registry.build("audio-enhance", preset="tiny").eval(), torch.randn(1, 800)
    with torch.no_grad():
        one, loud = model(wave)["enhanced"], model(100 * wave)["enhanced"]
    torch.testing.assert_close(loud, 100 * one, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("n_fft", "hop"), [(128, 64), (400, 100), (64, 20)])
def test_spectra_can_be_inverted(n_fft, hop):
    spectra, wave = CompressedSpectra(n_fft, hop, 0.3).double(), torch.randn(2, 1001).double()
    torch.testing.assert_close(spectra.decode(spectra.encode(wave), 1001), wave, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", _MAKERS)
def test_noise_is_of_its_seed_alone(kind):
    one, again = (make_noise(kind, 4000, RATE, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = make_noise(kind, 4000, RATE, np.random.default_rng(4))
    assert not np.array_equal(one, other)
    assert np.mean(one**2) == pytest.approx(1)


def test_noises_are_what_their_names_say():
    rng = np.random.default_rng(0)
    power = {
        kind: np.abs(np.fft.rfft(make_noise(kind, 64_000, RATE, rng))) ** 2 for kind in _MAKERS
    }
    low, high = slice(800, 1600), slice(8000, 16000)  # 100 to 200 Hz, 1 to 2 kHz
    assert power["white"][low].mean() == pytest.approx(power["white"][high].mean(), rel=0.1)
    assert power["pink"][low].mean() == pytest.approx(10 * power["pink"][high].mean(), rel=0.2)
    assert power["hum"][::400].sum() + power["hum"][::480].sum() > 0.99 * power["hum"].sum()
    clicks = make_noise("clicks", 64_000, RATE, rng)
    assert np.mean(clicks**4) > 20  # Gaussian noise has 3
    blocks = make_noise("modulated", 64_000, RATE, rng).reshape(-1, 400)
    assert blocks.std(1).max() > 4 * blocks.std(1).min()


@pytest.fixture
def speakers(tmp_path):
    rng = np.random.default_rng(0)
    for who in range(6):
        (tmp_path / f"p{who}").mkdir()
        sf.write(tmp_path / f"p{who}" / "a.flac", 0.1 * rng.standard_normal(2 * RATE), RATE)
    return tmp_path


def _dataset(root, part):
    data = EnhancementData(root=root, train=part, val=part, test=part)
    return EnhancementDataset(data, EnhancerConfig(sample_rate=RATE))


def test_made_noisy_speech(speakers):
    part = NoisySpeech(items=12, seconds=1.0, snr_db=(4.0, 4.0))
    split = _dataset(speakers, part).train(seed=1)
    assert [split.kind(k) for k in range(6)] == list(part.noises)
    for index in range(6):
        sample = split.sample(0, index)
        noise = sample["noisy"] - sample["clean"]
        snr = 10 * torch.log10(sample["clean"].square().mean() / noise.square().mean())
        assert snr.item() == pytest.approx(4, abs=0.05)
        assert sample["noisy"].abs().max() <= 0.9901
        again = _dataset(speakers, part).train(seed=1).sample(0, index)
        assert torch.equal(sample["noisy"], again["noisy"])
    assert not torch.equal(sample["noisy"], split.sample(1, index)["noisy"])


def test_babble_needs_a_crowd(speakers):
    with (speakers / "few.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("speaker", "files"), *((f"p{k}", f"p{k}/a.flac") for k in range(5))])
    with pytest.raises(ValueError, match="5 speakers: babble takes 5 beside"):
        _dataset(speakers, NoisySpeech(speakers="few.csv")).train(seed=0)


def test_folders_of_pairs(tmp_path):
    clean = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    for name, wave in (("clean", clean), ("noisy", clean + 0.01)):
        (tmp_path / name).mkdir()
        sf.write(tmp_path / name / "a.wav", wave, RATE, subtype="FLOAT")
    part = NoisyFolders(noisy="noisy", clean="clean", seconds=0.5)
    sample = _dataset(tmp_path, part).train(seed=0).sample(0, 0)
    torch.testing.assert_close(sample["noisy"] - sample["clean"], torch.full((4000,), 0.01))
    sf.write(tmp_path / "noisy" / "b.wav", clean, RATE)
    with pytest.raises(ValueError, match=r"only in one of them: b\.wav"):
        _dataset(tmp_path, part).train(seed=0)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        _dataset(tmp_path, NoisyFolders(noisy="n", clean="clean")).train(seed=0)


def test_the_loss_is_zero_for_clean_speech_and_grows_with_noise():
    batch = registry.example("audio-enhance", preset="tiny")
    clean, noise = batch["clean"], batch["noisy"] - batch["clean"]
    assert all(value < 1e-6 for value in terms(clean, clean, RATE).values())
    values = [loss({"enhanced": clean + k * noise}, batch).item() for k in (0, 0.1, 0.5, 1)]
    assert values == sorted(values)
    louder = {**batch, "clean": 10 * clean}
    torch.testing.assert_close(
        loss({"enhanced": 10 * batch["noisy"]}, louder),
        loss({"enhanced": batch["noisy"]}, batch),
        rtol=1e-2,
        atol=1e-3,
    )


def test_subtraction_helps_against_steady_noise_and_keeps_clean_speech():
    batch = registry.example("audio-enhance", preset="tiny")
    made = spectral_subtraction(batch["noisy"], RATE)
    assert (si_snr(made, batch["clean"]) > si_snr(batch["noisy"], batch["clean"]) + 2).all()
    assert (si_snr(spectral_subtraction(batch["clean"], RATE), batch["clean"]) > 10).all()
    assert made.shape == batch["noisy"].shape


def test_metrics_know_better_from_worse():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    metrics = registry.resolve(registry.spec("audio-enhance").metrics)
    batch = registry.example("audio-enhance", preset="tiny")
    noise = batch["noisy"] - batch["clean"]
    scores = []
    for k in (0.05, 1.0, 5.0):
        made = metrics()
        for metric in made.values():
            metric.update({"enhanced": batch["clean"] + k * noise}, batch)
        scores.append([metric.compute().item() for metric in made.values()])
    for good, middle, bad in zip(*scores, strict=True):
        assert good > middle > bad
    wrong = {**batch, "rate": torch.full((2,), 44_100)}
    with pytest.raises(ValueError, match="not at 44100"):
        metrics()["pesq"].update({"enhanced": batch["clean"]}, wrong)
    quiet = metrics()["pesq"]
    quiet.update({"enhanced": torch.zeros_like(batch["clean"])}, batch)
    assert quiet.compute() == 1
    silent = {**batch, "clean": torch.zeros_like(batch["clean"])}
    with pytest.raises(ValueError, match="no utterance"):
        metrics()["pesq"].update({"enhanced": batch["clean"]}, silent)


def test_files(tmp_path):
    model = registry.build("audio-enhance", preset="tiny").eval()
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(44_101), 44_100)
    enhancer = FileEnhancer(model, EnhancerPredict(chunk=0.5))
    (row,) = enhancer.run([tmp_path / "a.wav"], tmp_path / "out")
    assert row["outputs"] == [str(tmp_path / "out" / "a_enhanced.wav")]
    wave, rate = sf.read(row["outputs"][0], dtype="float32")
    assert (len(wave), rate) == (44_101, 44_100)
    again = enhancer.enhance(sf.read(tmp_path / "a.wav", dtype="float32")[0], 44_100)
    np.testing.assert_array_equal(again, wave)


@pytest.mark.slow
def test_overfits_one_batch():
    torch.manual_seed(0)
    model = registry.build("audio-enhance", preset="tiny", phase="turned")
    batch = registry.example("audio-enhance", preset="tiny", batch_size=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(batch["noisy"]), batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    made = model.eval()(batch["noisy"])["enhanced"]
    gain = si_snr(made, batch["clean"]) - si_snr(batch["noisy"], batch["clean"])
    assert gain.mean() > 3


@pytest.mark.slow
def test_the_baseline_scores_what_the_card_says(libri8k):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    items = libri8k_noisy(libri8k)
    assert len(items) == 120
    noisy = score(lambda wave, rate: wave, items)
    assert (noisy.pesq, noisy.stoi) == pytest.approx((1.678, 0.740), abs=0.01)
    assert noisy.si_snri == 0
    subtracted = score(spectral_subtraction, items)
    assert (subtracted.pesq, subtracted.stoi) == pytest.approx((1.903, 0.748), abs=0.01)
    assert subtracted.si_snri == pytest.approx(3.21, abs=0.05)
