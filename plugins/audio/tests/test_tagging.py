"""Tagging: model, data, metrics and files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile as sf
import torch

from mamba_audio.tagging.config import SpeechCommands, TagCsv, TaggerConfig, TaggingData
from mamba_audio.tagging.data import TaggingDataset
from mamba_audio.tagging.metrics import metrics
from mamba_audio.tagging.objective import loss
from mamba_audio.tagging.predict import FileTagger, TaggerPredict
from mamba_core import registry
from mamba_core.testing import parametrize_task_checks

RATE = 8000


@parametrize_task_checks("audio-tag")
def test_conformance(check):
    check()


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    return registry.build("audio-tag", preset="tiny", labels=("low", "mid", "high")).eval()


def test_base_is_near_its_published_size():
    with torch.device("meta"):
        labels = tuple(map(str, range(527)))
        model = registry.build("audio-tag", preset="aum_base", labels=labels)
    assert model.config.grid == (8, 64)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(92.1e6, rel=0.05)


def test_silence_gives_no_gradient_that_stands_out():
    batch, norms = registry.example("audio-tag"), []
    for silent in (0, 3000, 4000):
        batch["wave"][:, :silent] = 0
        torch.manual_seed(0)
        model = registry.build("audio-tag", preset="tiny")
        loss(model(batch["wave"]), batch).backward()
        norms.append(float(torch.nn.utils.get_total_norm(p.grad for p in model.parameters())))
    assert max(norms) < 5 * norms[0]


def test_the_class_token_stands_in_the_middle(tagger):
    """The scan reaches it from both sides: a change of the first or last patch is seen."""
    wave = 0.1 * torch.randn(1, 4000)
    seen = {}

    def keep(module, inputs):
        seen["tokens"] = inputs[0]

    handle = tagger.backbone.register_forward_pre_hook(keep)
    with torch.no_grad():
        logits = tagger(wave)["logits"]
    handle.remove()
    rows, columns = tagger.config.grid
    middle = rows * columns // 2
    expected = tagger.class_token + tagger.position[middle]
    torch.testing.assert_close(seen["tokens"][0, middle], expected)
    assert seen["tokens"].shape == (1, rows * columns + 1, 32)
    for cut in (slice(0, 400), slice(3600, 4000)):
        changed = wave.clone()
        changed[:, cut] = 0.3 * torch.randn(1, 400)
        with torch.no_grad():
            assert not torch.allclose(logits, tagger(changed)["logits"])


def test_the_level_does_not_matter(tagger):
    wave = 0.1 * torch.randn(2, 4000)
    with torch.no_grad():
        one, loud = tagger(wave)["logits"], tagger(50 * wave)["logits"]
        assert tagger(torch.zeros(1, 4000))["logits"].isfinite().all()
    torch.testing.assert_close(one, loud, rtol=1e-3, atol=1e-3)


def test_wrong_shapes_and_configs_are_named(tagger):
    with pytest.raises(ValueError, match=r"shape \(1, 10\), expected \(batch, 4000\)"):
        tagger(torch.zeros(1, 10))
    for fields, message in (
        ({"labels": ("a", "a")}, "at least two different"),
        ({"seconds": 0.05}, "make the patch smaller"),
    ):
        with pytest.raises(registry.ConfigError, match=message):
            registry.config("audio-tag", preset="tiny", **fields)


@pytest.fixture
def folder(tmp_path):
    """Three recordings and their tags, one at another rate and in stereo."""
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    sf.write(tmp_path / "b.wav", 0.1 * rng.standard_normal((16_000, 2)), 16_000)
    sf.write(tmp_path / "c.wav", 0.1 * rng.standard_normal(1000), RATE)
    with (tmp_path / "tags.csv").open("w", newline="") as file:
        rows = [("file", "labels"), ("a.wav b.wav", "low;high"), ("c.wav", "mid")]
        csv.writer(file).writerows(rows)
    return tmp_path


CONFIG = TaggerConfig(
    labels=("low", "mid", "high"), sample_rate=RATE, seconds=0.5, mels=32, patch=(8, 8)
)


def _data(root, part, config=CONFIG):
    return TaggingDataset(TaggingData(root=root, train=part, val=part, test=part), config)


def test_csv(folder):
    data = _data(folder, TagCsv(file="tags.csv"))
    train = data.train(seed=0)
    assert len(train) == 3
    assert train.sample(0, 1)["targets"].tolist() == [1, 0, 1]
    assert train.sample(0, 2)["targets"].tolist() == [0, 1, 0]
    assert torch.equal(train.sample(1, 0)["wave"], train.sample(1, 0)["wave"])
    assert not torch.equal(train.sample(1, 0)["wave"], train.sample(2, 0)["wave"])
    short = train.sample(0, 2)["wave"]
    assert short.shape == (4000,)
    assert not short[1000:].any()
    whole = sf.read(folder / "a.wav", dtype="float32")[0]
    np.testing.assert_array_equal(data.val(seed=0).sample(5, 0)["wave"], whole[6000:10_000])


def test_csv_errors(folder):
    with pytest.raises(ValueError, match="columns file, labels: path and labels are needed"):
        _data(folder, TagCsv(file="tags.csv", files_column="path")).train(seed=0)
    few = TaggerConfig(labels=("low", "mid"), sample_rate=RATE, seconds=0.5)
    with pytest.raises(ValueError, match="tags that the model does not: high"):
        _data(folder, TagCsv(file="tags.csv"), few).train(seed=0)


def test_speech_commands(folder, monkeypatch):
    asked = []

    class Fake:
        def __init__(self, root, subset, download):
            asked.append((subset, download))

        def __len__(self):
            return 3

        def get_metadata(self, n):
            words = ("low", "mid", "unheard")
            return f"{'abc'[n]}.wav", 16_000, words[n], "speaker", 0

    monkeypatch.setattr("torchaudio.datasets.SPEECHCOMMANDS", Fake)
    data = _data(folder, SpeechCommands(part="training", download=True))
    assert len(data.train(seed=0)) == 2  # the third word is none of the labels
    assert asked == [("training", True)]


def test_libri8k_serves_all_splits(libri8k):
    data = TaggingDataset(TaggingData(root=libri8k), TaggerConfig(sample_rate=RATE))
    assert [len(split(seed=0)) for split in (data.train, data.val)] == [231, 20]
    assert data.train(seed=0).sample(0, 0)["targets"].sum() == 1


def test_metrics():
    logits = torch.tensor([[3.0, 0, -9], [2, 1, -9], [1, 2, -9], [0, 3, -9]])
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]])
    made = metrics()
    for metric in made.values():
        for half in (slice(0, 2), slice(2, 4)):
            metric.update({"logits": logits[half]}, {"targets": targets[half]})
    # by hand: positives at ranks 1 and 3 give (1 + 2/3) / 2 for both labels; the third never
    # occurs and does not count
    assert made["map"].compute().item() == pytest.approx(5 / 6)
    assert made["accuracy"].compute().item() == 0.5


def test_files(tagger, folder):
    out = folder / "out"
    files = [folder / name for name in ("a.wav", "gone.wav", "b.wav")]
    seen = []
    rows = FileTagger(tagger, TaggerPredict(top=2)).run(
        files, out, progress=lambda *args: seen.append(args)
    )
    assert [row["file"] for row in rows] == [str(files[k]) for k in (0, 2, 1)]
    assert len(rows[0]["tags"]) == 2
    assert "does not exist" in rows[2]["error"]
    assert seen[-1] == ("b.wav", 16_000, 16_000)
    table = list(csv.reader((out / "tags.csv").open()))
    assert len(table) == 5
    with pytest.raises(FileExistsError, match="exists already"):
        FileTagger(tagger).run(files, out)
    with pytest.raises(FileNotFoundError):
        FileTagger(tagger).run([folder / "gone.wav"], folder / "other")
    assert not (folder / "other").exists()


def test_scores_are_means_over_pieces(tagger):
    wave = (0.1 * np.random.default_rng(0).standard_normal(10_500)).astype(np.float32)
    scores = FileTagger(tagger).tag(wave, RATE)
    with torch.no_grad():
        pieces = [wave[:4000], wave[4000:8000], np.pad(wave[8000:], (0, 1500))]
        heard = [tagger(torch.from_numpy(p)[None])["logits"].sigmoid() for p in pieces]
    expected = torch.cat(heard).mean(0).tolist()
    assert scores == pytest.approx(dict(zip(("low", "mid", "high"), expected, strict=True)))
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    file_like = FileTagger(tagger).tag(np.stack([wave, wave]), RATE)
    assert file_like == pytest.approx(scores)


@pytest.mark.slow
def test_overfits_one_batch():
    torch.manual_seed(0)
    labels = ("low", "mid", "high")
    model = registry.build("audio-tag", preset="tiny", labels=labels)
    batch = registry.example("audio-tag", preset="tiny", labels=labels, batch_size=6)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(batch["wave"]), batch).backward()
        optimizer.step()
    assert (model(batch["wave"])["logits"].argmax(1) == batch["targets"].argmax(1)).all()
