"""The weights that come with ``audio-enhance`` take noise away from a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mamba_audio.separation.objective import si_snr
from mamba_core import registry

VOICE = Path(__file__).resolve().parents[3] / "examples" / "audio" / "voice_1.flac"


@pytest.mark.skipif(not VOICE.is_file(), reason="the examples come with the checkout only")
def test_white_noise_is_taken_away():
    voice, rate = sf.read(VOICE, dtype="float32")
    voice = voice[: 2 * rate]
    noise = np.random.default_rng(0).normal(size=voice.shape).astype(np.float32)
    noise *= np.linalg.norm(voice) / np.linalg.norm(noise) / 2  # 6 dB below the voice
    enhancer = registry.predictor("audio-enhance")
    quieter = enhancer.enhance(voice + noise, rate)
    assert quieter.shape == voice.shape
    pair = torch.from_numpy(np.stack([voice + noise, quieter]))
    before, after = si_snr(pair, torch.from_numpy(voice).expand_as(pair)).tolist()
    assert after > before + 2
