"""Mixing on the fly, LibriMix folders, and the frozen manifest."""

from __future__ import annotations

import csv
import pickle

import numpy as np
import pytest
import soundfile as sf
import torch

from mamba_audio.separation.config import (
    LibriMix,
    Manifest,
    SeparationData,
    SeparatorConfig,
    Speakers,
    Wham,
    Wsj0Mix,
)
from mamba_audio.separation.data import (
    SOURCE_RMS,
    SeparationDataset,
    mixture_hash,
)
from mamba_audio.speech import read_csv

RATE = 8000


def _voice(seed, seconds=3.0):
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


@pytest.fixture
def speakers(tmp_path):
    """Four speakers, two files each; those of the last are shorter than a window."""
    for who in range(4):
        (tmp_path / f"p{who}").mkdir()
        for k in range(2):
            wave = _voice(10 * who + k, seconds=0.7 if who == 3 else 3.0)
            sf.write(tmp_path / f"p{who}" / f"{k}.flac", wave, RATE)
    return tmp_path


def _dataset(root, part, **model):
    data = SeparationData(root=root, train=part, val=part, test=part)
    return SeparationDataset(data, SeparatorConfig(**model))


def test_a_sample_is_a_function_of_seed_epoch_and_index(speakers):
    data = _dataset(speakers, Speakers(seconds=1.0))
    first = data.train(seed=3).sample(2, 5)
    again = pickle.loads(pickle.dumps(data.train(seed=3))).sample(2, 5)
    assert torch.equal(first["sources"], again["sources"])
    for seed, epoch, index in ((4, 2, 5), (3, 1, 5), (3, 2, 6)):
        other = data.train(seed=seed).sample(epoch, index)
        assert not torch.equal(first["sources"], other["sources"])


def test_mixtures_have_the_stated_levels(speakers):
    split = _dataset(speakers, Speakers(seconds=1.0, level_db=5.0)).train(seed=0)
    for index in range(20):
        sample = split.sample(0, index)
        assert sample["sources"].shape == (2, RATE)
        torch.testing.assert_close(sample["mixture"], sample["sources"].sum(0))
        db = 20 * sample["sources"].square().mean(-1).sqrt().log10()
        assert abs(db[0] - db[1]) <= 5.001
        assert db.mean().item() == pytest.approx(20 * np.log10(SOURCE_RMS), abs=0.01)


def test_speeds_keep_the_length(speakers):
    split = _dataset(speakers, Speakers(seconds=1.0, speeds=(0.95, 1.05))).train(seed=0)
    assert split.sample(0, 0)["mixture"].shape == (RATE,)


def test_three_sources_come_from_three_speakers(speakers):
    split = _dataset(speakers, Speakers(seconds=0.5), sources=3).train(seed=0)
    assert split.sample(0, 0)["sources"].shape == (3, RATE // 2)


def test_validation_is_the_same_for_every_seed_and_epoch(speakers):
    data = _dataset(speakers, Speakers(seconds=0.5, fresh=False))
    one, other = data.val(seed=0).sample(0, 1), data.val(seed=9).sample(7, 1)
    assert torch.equal(one["mixture"], other["mixture"])


def test_decoded_files_are_kept(speakers):
    data = _dataset(speakers, Speakers(seconds=0.5))
    wave = data.recordings.read(speakers / "p0" / "0.flac")
    assert data.recordings.read(speakers / "p0" / "0.flac") is wave


def test_librimix_folder(tmp_path):
    sources = np.stack([_voice(1), _voice(2)])
    for name, wave in (("mix_clean", sources.sum(0)), ("s1", sources[0]), ("s2", sources[1])):
        (tmp_path / "train" / name).mkdir(parents=True)
        sf.write(tmp_path / "train" / name / "a.wav", wave, RATE, subtype="FLOAT")
    whole = _dataset(tmp_path, LibriMix(folder="train")).test(seed=0)
    np.testing.assert_allclose(whole.sample(0, 0)["sources"].numpy(), sources, atol=1e-6)
    cut = _dataset(tmp_path, LibriMix(folder="train", seconds=1.0)).train(seed=0).sample(0, 0)
    torch.testing.assert_close(cut["mixture"], cut["sources"].sum(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("config", "folder", "mixture", "sources"),
    [
        (Wsj0Mix(folder="wsj0-mix", part="tr"), "wsj0-mix/2speakers/wav8k/min/tr", "mix", 2),
        (Wsj0Mix(folder=".", part="tt", mode="max"), "3speakers/wav8k/max/tt", "mix", 3),
        (Wham(folder="wham", part="cv"), "wham/wav8k/min/cv", "mix_clean", 2),
        (Wham(folder=".", part="cv", mixture="mix_both"), "wav8k/min/cv", "mix_both", 2),
    ],
)
def test_trees_of_others(tmp_path, config, folder, mixture, sources):
    voices = np.stack([_voice(k) for k in range(sources)])
    names = [(mixture, voices.sum(0)), *((f"s{k + 1}", voices[k]) for k in range(sources))]
    for name, wave in names:
        (tmp_path / folder / name).mkdir(parents=True)
        sf.write(tmp_path / folder / name / "a.wav", wave, RATE, subtype="FLOAT")
    found = _dataset(tmp_path, config, sources=sources).test(seed=0).sample(0, 0)
    np.testing.assert_allclose(found["sources"].numpy(), voices, atol=1e-6)
    with pytest.raises(FileNotFoundError, match=f"the layout {config.kind} has {mixture}/, s1/"):
        _dataset(tmp_path, config, sources=4).test(seed=0)


def test_speakers_of_another_rate_are_converted(tmp_path):
    for who in range(2):
        (tmp_path / f"p{who}" / "chapter").mkdir(parents=True)
        time = np.arange(32000) / 16000
        tone = 0.1 * np.sin(2 * np.pi * 300 * time)
        sf.write(tmp_path / f"p{who}" / "chapter" / "a.flac", np.stack([tone] * 2, 1), 16000)
    data = _dataset(tmp_path, Speakers(seconds=1.0))
    wave = data.converted.read(tmp_path / "p0" / "chapter" / "a.flac")
    expected = 0.1 * np.sin(2 * np.pi * 300 * np.arange(16000) / 8000)
    np.testing.assert_allclose(wave[100:-100], expected[100:-100], atol=1e-3)
    assert data.train(seed=0).sample(0, 0)["mixture"].shape == (RATE,)


def test_librispeech_is_fetched_where_it_is_missing(tmp_path, monkeypatch):
    asked = []

    def fetch(root, url, download):
        asked.append(download)
        for who in ("19", "26"):
            folder = root / "LibriSpeech" / url / who / "198"
            folder.mkdir(parents=True, exist_ok=True)
            sf.write(folder / "a.flac", _voice(int(who)), RATE)

    monkeypatch.setattr("torchaudio.datasets.LIBRISPEECH", fetch)
    part = Speakers(download="dev-clean", seconds=0.5)
    for _ in range(2):
        assert len(_dataset(tmp_path, part).train(seed=0).speakers) == 2
    assert asked == [True, False]


def test_one_speaker_is_not_enough(tmp_path):
    (tmp_path / "alone").mkdir()
    sf.write(tmp_path / "alone" / "a.flac", _voice(1), RATE)
    with pytest.raises(ValueError, match=r"recordings of 1 speaker.*needs 2 different ones"):
        _dataset(tmp_path, Speakers()).train(seed=0)


def _manifest(tmp_path, **changes):
    sf.write(tmp_path / "a.flac", _voice(1), RATE)
    sf.write(tmp_path / "b.flac", _voice(2), RATE)
    a, b = (sf.read(tmp_path / f"{n}.flac")[0] for n in "ab")
    mixture = a[10 : 10 + RATE] * 0.5 + b[:RATE] * 0.25
    row = {"id": "0", "file1": "a.flac", "start1": 10, "gain1": 0.5, "file2": "b.flac"}
    row |= {"start2": 0, "gain2": 0.25, "sha256": mixture_hash(mixture)} | changes
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerow(row)
    return Manifest(file="m.csv", seconds=1.0)


def test_manifest(tmp_path):
    sample = _dataset(tmp_path, _manifest(tmp_path)).test(seed=0).sample(0, 0)
    assert sample["sources"].shape == (2, RATE)


def test_manifest_finds_changed_audio(tmp_path):
    split = _dataset(tmp_path, _manifest(tmp_path, gain1=0.51)).test(seed=0)
    with pytest.raises(ValueError, match=r"mixture 0 of m\.csv differs.*get them again"):
        split.sample(0, 0)


def test_a_window_beyond_the_recording_is_named(tmp_path):
    split = _dataset(tmp_path, _manifest(tmp_path, start1=17_000)).test(seed=0)
    with pytest.raises(ValueError, match=r"a\.flac has 7000 samples from 17000 on, 8000 are"):
        split.sample(0, 0)


def test_a_list_of_speakers_without_its_columns_is_named(tmp_path):
    (tmp_path / "who.csv").write_text("name,path\nanna,a.flac\n")
    with pytest.raises(ValueError, match="has the columns name, path: a list of speakers has"):
        _dataset(tmp_path, Speakers(speakers="who.csv")).train(seed=0)


def test_configs_choose_their_form_by_kind(tmp_path):
    data = SeparationData(root=tmp_path, train={"kind": "librimix", "folder": "x"})
    assert isinstance(data.train, LibriMix)
    with pytest.raises(ValueError, match="kind"):
        SeparationData(root=tmp_path, train={"kind": "libri"})


def test_errors_name_value_and_way_out(tmp_path, speakers):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        _dataset(tmp_path / "nowhere", Speakers())
    sf.write(tmp_path / "fast.flac", _voice(1), 16000)
    recordings = _dataset(speakers, Speakers()).recordings
    with pytest.raises(ValueError, match="16000 Hz, the model 8000 Hz"):
        recordings.read(tmp_path / "fast.flac")
    with pytest.raises(FileNotFoundError, match="the layout librimix has"):
        _dataset(tmp_path, LibriMix(folder="none")).train(seed=0)
    with pytest.raises(ValueError, match=r"of 3 sources: .* columns file3, gain3, start3"):
        _dataset(tmp_path, _manifest(tmp_path), sources=3).test(seed=0)


def test_libri8k_splits_share_no_speaker(libri8k):
    lists = [{r["speaker"] for r in read_csv(libri8k / f"speakers_{p}.csv")} for p in _PARTS]
    assert [len(part) for part in lists] == [231, 20, 10]
    assert len(set.union(*lists)) == 261


def test_libri8k_test_pairs(libri8k):
    rows = read_csv(libri8k / "test_mixtures.csv")
    pairs = {frozenset((r["speaker1"], r["speaker2"])) for r in rows}
    assert (len(rows), len(pairs)) == (300, 45)


def test_libri8k_serves_all_splits(libri8k):
    data = SeparationDataset(SeparationData(root=libri8k), SeparatorConfig())
    for split, samples in ((data.train(seed=0), 16000), (data.val(seed=0), 32000)):
        assert split.sample(0, 0)["mixture"].shape == (samples,)
    assert len(data.test(seed=0)) == 300


_PARTS = ("train", "val", "test")
