"""A Mamba-1 model of ours in GGUF, and run by ggml: an opponent for the benchmark.

Needs ``llama-cpp-python`` and ``gguf``, which nothing else here does.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamba_language.lm.model import MambaLM


def why_not(model: MambaLM) -> str | None:
    """Return why ggml cannot take part, or None."""
    missing = [name for name in ("llama_cpp", "gguf") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install llama-cpp-python gguf"
    if model.config.mixer.name != "mamba1":
        return "only Mamba-1 is converted"
    return None


def write(model: MambaLM, path: Path) -> None:
    """Write a Mamba-1 model as float32 GGUF, without a vocabulary's words.

    Keys and tensor names are those of the architecture ``mamba`` in the package ``gguf``.
    """
    import gguf

    blocks: Any = model.backbone.blocks
    options = blocks[0].layers[0].options
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(model.config.d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(len(blocks))
    writer.add_vocab_size(model.config.vocab_size)
    writer.add_ssm_conv_kernel(options.d_conv)
    writer.add_ssm_inner_size(options.d_inner)
    writer.add_ssm_state_size(options.d_state)
    writer.add_ssm_time_step_rank(options.dt_rank)
    writer.add_layer_norm_rms_eps(model.config.norm_eps)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in _tensors(model).items():
        writer.add_tensor(name, tensor.detach().float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: MambaLM) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {
        "token_embd.weight": model.embedding.weight,
        "output_norm.weight": model.backbone.norm.weight,  # type: ignore[dict-item]
    }
    if not model.config.tie_embeddings:
        found["output.weight"] = model.lm_head.weight
    blocks: Any = model.backbone.blocks
    for number, block in enumerate(blocks):
        mixer = block.layers[0]
        parts = {
            "attn_norm.weight": block.norm.weight,
            "ssm_in.weight": mixer.in_proj.weight,
            "ssm_conv1d.weight": mixer.conv1d.weight[:, 0],
            "ssm_conv1d.bias": mixer.conv1d.bias,
            "ssm_x.weight": mixer.x_proj.weight,
            "ssm_dt.weight": mixer.dt_proj.weight,
            "ssm_dt.bias": mixer.dt_proj.bias,
            "ssm_a": mixer.A,
            "ssm_d": mixer.D,
            "ssm_out.weight": mixer.out_proj.weight,
        }
        found |= {f"blk.{number}.{name}": tensor for name, tensor in parts.items()}
    return found


class Ggml:
    """A GGUF file, loaded by llama.cpp.

    :param context: the most tokens of a text.
    :param threads: of ggml.
    """

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        from llama_cpp import Llama

        self._model = Llama(
            str(path),
            n_ctx=context,
            n_batch=context,
            n_ubatch=context,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            verbose=False,
        )

    def logits(self, prompt: Tensor) -> Tensor:
        """Logits ``(1, length, vocab_size)`` of a prompt ``(1, length)`` from its beginning."""
        self._model.reset()
        self._model.eval(prompt[0].tolist())
        return torch.from_numpy(np.array(self._model.scores[: prompt.shape[1]]))[None]

    def decode(self, prompt: Tensor, tokens: int) -> tuple[list[int], float]:
        """Return greedy tokens and the seconds per token after the first."""
        chosen = [int(self.logits(prompt)[0, -1].argmax())]
        start = time.perf_counter()
        for _ in range(tokens - 1):
            self._model.eval(chosen[-1:])
            chosen.append(int(self._model.scores[self._model.n_tokens - 1].argmax()))
        return chosen, (time.perf_counter() - start) / (tokens - 1)
