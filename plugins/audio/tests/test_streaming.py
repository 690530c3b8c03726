"""Sound that arrives in pieces: the stream object, the resampler, the command."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_audio.files.resample import Resampler, samples_after
from mamba_audio.separation.streaming import SeparatorStream
from mamba_core import registry
from mamba_core.pretrained import save_pretrained

CONV = {"kind": "conv_tasnet", "filters": 16, "bottleneck": 8, "hidden": 8, "blocks": 3}
SINGLE = {"kind": "single_path", "filters": 16, "d_model": 16, "depth": 2}
SPECTRA = {"kind": "time_frequency", "channels": 4, "depth": 2, "window": 3, "heads": 0}
DUAL = {"kind": "dual_path", "filters": 16, "d_model": 16, "depth": 2, "chunk": 6}
FORMS = {
    "mamba1": {"network": SINGLE},
    "mamba2": {"network": SINGLE, "mixer": {"name": "mamba2", "headdim": 8, "d_state": 8}},
    "conv": {"network": CONV, "kernel_size": 20},
    "no overlap": {"network": CONV, "kernel_size": 8},
    "dual path": {"network": DUAL},
    "dual path, mamba2": {"network": DUAL, "mixer": {"name": "mamba2", "headdim": 8}},
    "dprnn": {"network": {"kind": "dprnn", "filters": 16, "d_model": 8, "hidden": 8, "chunk": 10}},
    "spectra": {"network": SPECTRA, "stride": 4},
}


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {
        name: registry.build(
            "audio-sep", preset="mamba_tasnet_xs", causal=True, sources=3, **fields
        ).eval()
        for name, fields in FORMS.items()
    }


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 150), min_size=1, max_size=8))
def test_pieces_equal_the_whole(models, form, cuts):
    model = models[form]
    wave = torch.randn(sum(cuts), generator=torch.Generator().manual_seed(1))
    stream = SeparatorStream(model)
    found, pushed = [], 0
    for piece in wave.split(cuts):
        found.append(stream.push(piece))
        pushed += len(piece)
        given = sum(part.shape[-1] for part in found)
        assert max(pushed - stream.latency, 0) <= given <= pushed
    found.append(stream.flush())
    result = torch.cat(found, dim=-1)
    assert result.shape == (3, len(wave))
    if len(wave):
        with torch.no_grad():
            whole = model(wave[None])["estimates"][0]
        torch.testing.assert_close(result, whole, rtol=0, atol=1e-5)


def test_an_hour_of_sums_still_moves(models):
    """The norm's sums are float64: after an hour a frame must still count."""
    norm = models["conv"].network.norm
    state = norm.init_state(1)
    count = 1000 * 3600 * 16.0
    state = state.map(lambda sums: torch.tensor([[count, 0.1 * count, 2 * count]]).double())
    _, after = norm.prefill(torch.ones(1, 16, 1), state)
    assert after.tensors["sums"].tolist() == [[count + 16, 0.1 * count + 16, 2 * count + 16]]


def test_after_a_flush_the_stream_is_new(models):
    stream, wave = SeparatorStream(models["mamba1"]), torch.randn(333)
    first = torch.cat([stream.push(wave), stream.flush()], dim=-1)
    assert torch.equal(first, torch.cat([stream.push(wave), stream.flush()], dim=-1))


def test_a_bad_block_is_named_and_changes_nothing(models):
    stream, wave = SeparatorStream(models["mamba1"]), torch.randn(333)
    with pytest.raises(ValueError, match="NaN"):
        stream.push(torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match=r"shape \(1, 5\)"):
        stream.push(torch.zeros(1, 5))
    found = torch.cat([stream.push(wave), stream.flush()], dim=-1)
    expected = SeparatorStream(models["mamba1"])
    assert torch.equal(found, torch.cat([expected.push(wave), expected.flush()], dim=-1))


def test_states_hold_one_row_per_recording(models):
    """Of a batch, any recordings can be carried on, in any order."""
    for model in models.values():
        wave, rows = torch.randn(3, 37 * model.config.stride), torch.tensor([2, 0])
        begin, end = wave.split([20 * model.config.stride, 17 * model.config.stride], dim=1)
        with torch.no_grad():
            whole, _ = model.prefill(wave, model.init_state(3))
            _, state = model.prefill(begin, model.init_state(3))
            found, _ = model.prefill(end[rows], state.select(rows))
        torch.testing.assert_close(found, whole[rows, :, begin.shape[1] :], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "causal=True"),
        ({"network": {"kind": "dprnn"}, "mixer": "mamba1"}, "causal=True"),
        ({"network": {"kind": "time_frequency", "heads": 0}}, "causal=True"),
        ({"causal": True, "network": {"kind": "time_frequency"}}, "heads=0"),
        ({"causal": True, "network": SPECTRA | {"hop": 2}}, "hop=1"),
    ],
)
def test_a_model_that_cannot_stream_says_so(fields, message):
    model = registry.build("audio-sep", preset="mamba_tasnet_xs", **fields)
    with pytest.raises(TypeError, match=f"cannot stream.*{message}"):
        SeparatorStream(model)


@settings(max_examples=25, deadline=None)
@given(
    old=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
    new=st.sampled_from([8000, 16000, 44100]),
    cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
)
def test_resampling_in_pieces_equals_the_whole(old, new, cuts):
    time = np.arange(sum(cuts)) / old
    wave = np.stack([np.sin(2 * np.pi * f * time) for f in (300, 900)]).astype(np.float32)
    pieces, whole = Resampler(old, new, 2), Resampler(old, new, 2)
    bounds = np.cumsum(cuts)[:-1]
    found = [pieces.push(p) for p in np.split(wave, bounds, axis=1)] + [pieces.flush()]
    found = np.concatenate(found, axis=1)
    expected = np.concatenate([whole.push(wave), whole.flush()], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape[1] == samples_after(wave.shape[1], old, new)


def test_resampling_keeps_the_time():
    wave = np.sin(2 * np.pi * 300 * np.arange(16000) / 16000).astype(np.float32)[None]
    down = Resampler(16000, 8000)
    found = np.concatenate([down.push(wave), down.flush()], axis=1)
    inner = slice(100, -100)
    np.testing.assert_allclose(found[:, inner], wave[:, ::2][:, inner], atol=1e-3)


@pytest.mark.parametrize("rate", [0, 999, 10**7])
def test_no_sample_rate(rate):
    with pytest.raises(ValueError, match=f"a sample rate of {rate} Hz"):
        Resampler(rate, 8000)


def _command(arguments, data):
    code = "import sys; from mamba_core.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "audio-stream", *map(str, arguments)],
        input=data,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_the_command_reads_raw_and_wav(models, tmp_path):
    save_pretrained(models["mamba2"], tmp_path / "model")
    wave = (0.1 * np.random.default_rng(0).standard_normal(4001)).astype(np.float32)
    with torch.no_grad():
        whole = models["mamba2"](torch.from_numpy(wave)[None])["estimates"][0].numpy()
    raw = _command([tmp_path / "model", "--out", "-", "--format", "f32le"], wave.tobytes())
    assert raw.returncode == 0, raw.stderr
    assert b"latency 2.0 ms" in raw.stderr
    voices = np.frombuffer(raw.stdout, np.float32).reshape(-1, 3).T
    np.testing.assert_allclose(voices, whole, atol=1e-5)
    file = io.BytesIO()
    sf.write(file, wave, 8000, format="WAV", subtype="FLOAT")
    wav = _command([tmp_path / "model", "--out", tmp_path / "out"], file.getvalue())
    assert wav.returncode == 0, wav.stderr
    written = [sf.read(tmp_path / "out" / f"s{k}.wav")[0] for k in (1, 2, 3)]
    np.testing.assert_allclose(np.stack(written), whole, atol=1e-5)
    again = _command([tmp_path / "model", "--out", tmp_path / "out"], file.getvalue())
    assert again.returncode == 1
    assert b"exist already" in again.stderr
