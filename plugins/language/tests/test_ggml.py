"""A Mamba-1 model read by ggml from the GGUF file that the benchmark writes."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from mamba_core import registry
from mamba_language.lm import ggml

SMALL = {"d_model": 32, "n_layer": 2, "vocab_size": 300}


def build(mixer, **fields):
    return registry.build("language-lm", preset="tiny", mixer={"name": mixer}, **SMALL, **fields)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_and_greedy_tokens_are_ours(tmp_path, tied):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    model = build("mamba1", tie_embeddings=tied).eval()
    ggml.write(model, tmp_path / "model.gguf")
    other = ggml.Ggml(tmp_path / "model.gguf", context=32, threads=1)
    prompt = torch.randint(300, (1, 9))
    with torch.inference_mode():
        expected = model(prompt)["logits"]
    for _ in range(2):  # the second time from the beginning again
        torch.testing.assert_close(other.logits(prompt), expected, rtol=0, atol=1e-4)
    tokens, seconds = other.decode(prompt, 2)
    assert tokens[0] == int(expected[0, -1].argmax())
    assert len(tokens) == 2
    assert seconds > 0


def test_without_it_the_reason_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install llama-cpp-python gguf" in ggml.why_not(build("mamba1"))


def test_mamba2_is_left_out(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert ggml.why_not(build("mamba2")) == "only Mamba-1 is converted"
