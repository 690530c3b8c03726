"""Files in, files out: lengths, rates, channels, errors, and nothing half-written."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile as sf
import torch

from mamba_audio.separation.config import SeparatorPredict
from mamba_audio.separation.predict import FileSeparator
from mamba_core import registry


class _Halves(torch.nn.Module):
    """Gives half of the mixture to each source: what comes out must sum to what went in."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.calls = []

    def forward(self, mixture):
        self.calls.append(mixture.shape[-1])
        return {"estimates": torch.stack([0.5 * mixture, 5 * mixture], dim=1)}


@pytest.fixture
def halves(tiny):
    return _Halves(tiny.config)


def _separator(model, **fields):
    return FileSeparator(model, SeparatorPredict(**fields))


def _tone(samples, rate):
    time = np.arange(samples) / rate
    return (0.3 * np.sin(2 * math.pi * 440 * time) * (1 + np.sin(7 * time))).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
@pytest.mark.parametrize("channels", ["mono", "each", "first"])
def test_length_rate_level_round_trip(halves, tmp_path, rate, channels):
    samples = int(3.3 * rate) + 7
    wave = np.stack([_tone(samples, rate), 0.5 * _tone(samples, rate)])
    sf.write(tmp_path / "a.wav", wave.T, rate, subtype="FLOAT")
    separator = _separator(halves, chunk=1.0, channels=channels)
    row = separator.separate_file(tmp_path / "a.wav", tmp_path / "out")
    stems = [sf.read(path, always_2d=True) for path in row["outputs"]]
    assert [out_rate for _, out_rate in stems] == [rate, rate]
    expected = {"mono": wave.mean(0)[:, None], "each": wave.T, "first": wave[:1].T}[channels]
    assert stems[0][0].shape == expected.shape
    inner = slice(rate // 10, -rate // 10)  # resampling has nothing to lean on at the very ends
    total = stems[0][0] + stems[1][0]
    np.testing.assert_allclose(total[inner], expected[inner], atol=0.01)


def test_the_model_s_own_rate_on_request(halves, tmp_path):
    sf.write(tmp_path / "a.wav", _tone(44100 * 2 + 1, 44100), 44100)
    separator = _separator(halves, chunk=1.0, keep_rate=False)
    row = separator.separate_file(tmp_path / "a.wav", tmp_path)
    info = sf.info(row["outputs"][0])
    assert (info.samplerate, info.frames) == (8000, 16001)


def test_file_equals_memory_and_repeats_byte_for_byte(tiny, tmp_path):
    wave = _tone(30001, 8000)
    sf.write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    separator = _separator(tiny, chunk=1.0)
    first = separator.separate_file(tmp_path / "a.wav", tmp_path / "one")["outputs"]
    again = separator.separate_file(tmp_path / "a.wav", tmp_path / "two")["outputs"]
    stems = separator.separate(wave, 8000)
    for path, other, stem in zip(first, again, ("s1", "s2"), strict=True):
        np.testing.assert_array_equal(sf.read(path, dtype="float32")[0], stems[stem])
        assert sf.read(path)[0].tobytes() == sf.read(other)[0].tobytes()


def test_chunks_do_not_grow_with_the_file(halves):
    _separator(halves, chunk=1.0).separate(_tone(80_000, 8000), 8000)
    assert max(halves.calls) == 8000
    assert len(halves.calls) > 10


def test_arrays_of_both_shapes(tiny):
    separator = _separator(tiny, channels="each", stems=("anna", "ben"))
    stereo = np.stack([_tone(9000, 8000)] * 2)
    stems = separator.separate(stereo, 8000)
    assert {name: stem.shape for name, stem in stems.items()} == {
        "anna": (2, 9000),
        "ben": (2, 9000),
    }
    assert _separator(tiny).separate(stereo[0], 8000)["s1"].shape == (9000,)


def test_silence_gives_silence(tiny, tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros(16000), 8000)
    row = _separator(tiny, chunk=0.5).separate_file(tmp_path / "a.wav", tmp_path)
    assert row["silent"]
    assert "is there any sound" in row["warnings"][0]
    assert not sf.read(row["outputs"][0])[0].any()


def test_flac_counts_what_it_cuts(halves, tmp_path):
    sf.write(tmp_path / "a.wav", 8 * _tone(8000, 8000), 8000, subtype="FLOAT")
    row = _separator(halves, format="flac").separate_file(tmp_path / "a.wav", tmp_path)
    assert row["outputs"][0].endswith("a_s1.flac")
    assert row["clipped"] > 0
    assert "wav would hold them" in row["warnings"][-1]


def test_a_clipped_recording_is_named(tiny, tmp_path):
    wave = np.clip(8 * _tone(8000, 8000), -1, 1)
    sf.write(tmp_path / "a.wav", wave, 8000)
    row = _separator(tiny).separate_file(tmp_path / "a.wav", tmp_path)
    assert row["input_clipped"] == (np.abs(wave) >= 32767 / 32768).sum()
    assert f"at full scale in {row['input_clipped']} samples" in row["warnings"][0]


def test_thirty_two_channels(tiny, tmp_path):
    wave = np.stack([_tone(2000, 8000)] * 32, axis=1)
    sf.write(tmp_path / "a.wav", wave, 8000)
    row = _separator(tiny, channels="each").separate_file(tmp_path / "a.wav", tmp_path)
    assert sf.info(row["outputs"][0]).channels == 32
    separator = _separator(tiny, channels="each", format="flac")
    with pytest.raises(ValueError, match="32 channels do not fit into flac"):
        separator.separate_file(tmp_path / "a.wav", tmp_path)


class _Swaps(_Halves):
    """Tells a low from a high voice by their frequencies, and swaps them at every other call."""

    def forward(self, mixture):
        self.calls.append(mixture.shape[-1])
        spectrum = torch.fft.rfft(mixture)
        low = torch.arange(spectrum.shape[-1]) < spectrum.shape[-1] // 8
        voices = [torch.fft.irfft(spectrum * part, mixture.shape[-1]) for part in (low, ~low)]
        return {"estimates": torch.stack(voices[:: (-1) ** len(self.calls)], dim=1)}


def test_channels_and_chunks_agree_on_the_voices(tiny):
    time = np.arange(40_000) / 8000
    low, high = np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 1500 * time)
    wave = np.stack([low + 0.5 * high, 0.3 * low + high]).astype(np.float32)
    separator = _separator(_Swaps(tiny.config), chunk=1.0, channels="each")
    stems = separator.separate(wave, 8000)
    first, second = (stems["s1"], stems["s2"])
    if np.abs(first[0] - low).mean() > 0.1:
        first, second = second, first
    inner = slice(800, -800)
    np.testing.assert_allclose(first[:, inner], np.stack([low, 0.3 * low])[:, inner], atol=0.05)
    np.testing.assert_allclose(second[:, inner], np.stack([0.5 * high, high])[:, inner], atol=0.05)


def test_levels_are_those_of_the_whole_recording(halves):
    """One voice twice, five times too loud: the sum must be the mixture, soft parts included."""
    wave = _tone(24_000, 8000) * np.repeat([1, 0.01, 0.3], 8000).astype(np.float32)
    stems = _separator(halves, chunk=1.0).separate(wave, 8000)
    np.testing.assert_allclose(stems["s1"] + stems["s2"], wave, atol=1e-4)


def test_a_causal_model_needs_no_chunks():
    torch.manual_seed(0)
    model = registry.build("audio-sep", preset="tiny", causal=True).eval()
    wave = _tone(30_001, 8000)
    stems = _separator(model, chunk=0.5).separate(wave, 8000)
    with torch.no_grad():
        whole = model(torch.from_numpy(wave)[None])["estimates"][0].numpy()
    for stem, estimate in zip(stems.values(), whole, strict=True):
        gain = (stem @ estimate) / (estimate @ estimate)
        np.testing.assert_allclose(stem, gain * estimate, atol=1e-5)


def _bad_files(tmp_path):
    sf.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    sf.write(tmp_path / "short.wav", _tone(80, 8000), 8000)
    broken = _tone(16000, 8000)
    broken[12345] = np.nan
    sf.write(tmp_path / "nan.wav", broken, 8000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio")
    sf.write(tmp_path / "one.wav", np.ones(1), 8000)
    sf.write(tmp_path / "slow.wav", np.zeros(16000), 5)
    sf.write(tmp_path / "cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 8000)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("empty.wav", ValueError, "0 samples at 8000 Hz, at least 20 ms"),
        ("short.wav", ValueError, "80 samples at 8000 Hz, at least 20 ms"),
        ("nan.wav", ValueError, "NaN or infinity at sample 12345"),
        ("text.wav", ValueError, "is no audio file.*convert it to wav or flac"),
        ("one.wav", ValueError, "1 samples at 8000 Hz, at least 20 ms"),
        ("slow.wav", ValueError, "sample rate of 5 Hz"),
        ("cut.flac", ValueError, "is no audio file|ends at sample|cannot be read"),
        ("missing.wav", FileNotFoundError, "does not exist: is its name right"),
        ("", FileNotFoundError, "is a folder: give the files in it"),
    ],
)
def test_bad_files_leave_nothing_behind(tiny, tmp_path, name, error, message):
    _bad_files(tmp_path)
    separator = _separator(tiny, chunk=0.5)
    with pytest.raises(error, match=message):
        separator.separate_file(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_file_where_the_outputs_need_a_folder(tiny, tmp_path):
    sf.write(tmp_path / "a.wav", _tone(8000, 8000), 8000)
    with pytest.raises(NotADirectoryError, match=r"a\.wav is a file, outputs need a folder"):
        _separator(tiny).separate_file(tmp_path / "a.wav", tmp_path / "a.wav" / "out")


def test_a_full_disk_is_not_taken_for_a_bad_recording(tiny, tmp_path, monkeypatch):
    sf.write(tmp_path / "a.wav", _tone(8000, 8000), 8000)

    def full(self, data):
        raise sf.LibsndfileError(2)

    monkeypatch.setattr(sf.SoundFile, "write", full)
    with pytest.raises(OSError, match=r"a_s1.*cannot be written .*is the disk full"):
        _separator(tiny).separate_file(tmp_path / "a.wav", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_one_bad_file_does_not_stop_the_others(tiny, tmp_path):
    _bad_files(tmp_path)
    for name in "ab":
        sf.write(tmp_path / f"{name}.wav", _tone(4000, 8000), 8000)
    files = [tmp_path / name for name in ("nan.wav", "a.wav", "text.wav", "gone.wav", "b.wav")]
    rows = _separator(tiny).run(files, tmp_path / "out")
    assert [row["file"] for row in rows] == [str(files[k]) for k in (1, 4, 0, 2, 3)]
    assert ["error" in row for row in rows] == [False, False, True, True, True]
    assert "NaN or infinity at sample 12345" in rows[2]["error"]
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_names_follow_the_template(tiny, tmp_path):
    sf.write(tmp_path / "a.wav", _tone(4000, 8000), 8000)
    row = _separator(tiny, names="{stem}/{file}", format="ogg").run([tmp_path / "a.wav"], tmp_path)
    assert row[0]["outputs"] == [str(tmp_path / s / "a.ogg") for s in ("s1", "s2")]
    for bad in ("{file}", "../{stem}", "{voice}_{stem}", "/{stem}"):
        with pytest.raises(ValueError, match="names = "):
            SeparatorPredict(names=bad)


def test_existing_outputs_are_kept(tiny, tmp_path):
    sf.write(tmp_path / "a.wav", _tone(8000, 8000), 8000)
    (tmp_path / "a_s2.wav").write_text("mine")
    separator = _separator(tiny)
    with pytest.raises(FileExistsError, match="--overwrite"):
        separator.run([tmp_path / "a.wav"], tmp_path)
    assert (tmp_path / "a_s2.wav").read_text() == "mine"
    assert not (tmp_path / "a_s1.wav").exists()
    separator.run([tmp_path / "a.wav"], tmp_path, overwrite=True)
    assert sf.info(tmp_path / "a_s2.wav").frames == 8000


def test_run_reports_progress_and_refuses_equal_names(tiny, tmp_path):
    sf.write(tmp_path / "a.wav", _tone(20000, 8000), 8000)
    seen = []
    rows = _separator(tiny, chunk=1.0).run(
        [tmp_path / "a.wav"], tmp_path / "out", progress=lambda *args: seen.append(args)
    )
    assert rows[0]["seconds"] == 2.5
    assert "warnings" not in rows[0]
    assert seen[-1] == ("a.wav", 20000, 20000)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    with pytest.raises(ValueError, match="would both be written"):
        _separator(tiny).run([tmp_path / "a.wav", tmp_path / "b" / "a.flac"], tmp_path)


def test_wrong_arrays_and_stems(tiny):
    with pytest.raises(ValueError, match=r"shape \(1, 1, 8\)"):
        _separator(tiny).separate(np.zeros((1, 1, 8)), 8000)
    with pytest.raises(ValueError, match="2 different names"):
        _separator(tiny, stems=("a",))


@pytest.mark.slow
def test_memory_is_flat_in_the_length(halves, tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    separator, peaks = _separator(halves, chunk=5.0), []
    for minutes in (1, 60):
        path = tmp_path / f"{minutes}.wav"
        with sf.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(_tone(60 * 8000, 8000))
        separator.separate_file(path, tmp_path / "out")
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[1] - peaks[0] < 20_000  # KiB; an hour of one track alone is 115 MB
