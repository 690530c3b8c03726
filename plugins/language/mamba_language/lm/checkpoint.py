"""Load a folder that ``mamba_ssm`` or ``transformers`` wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mamba_core import registry
from mamba_core.registry import WeightsError
from mamba_language.lm.convert import Source, convert_checkpoint, convert_config

TASK = "language-lm"
_FILES = ("model.safetensors", "pytorch_model.bin")


def load_checkpoint(folder: Path | str, *, device: torch.device | str = "cpu") -> torch.nn.Module:
    """Return a published model, in eval mode, with ``model.task``; ``save_pretrained`` keeps it.

    Its floating-point weights become fp32. A ``tokenizer.json`` in the folder is taken.

    :param folder: ``config.json`` and ``model.safetensors`` (or its index and shards), or
        ``pytorch_model.bin``, which is read by ``torch.load(weights_only=True)``.
    :raises WeightsError: for a folder that is none, and for tensors that do not fit its config.
    :raises ConfigError: for a model that is not built here.
    """
    path = Path(folder)
    try:
        described = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} holds no config.json of a checkpoint: {error}") from error
    source: Source = "transformers" if "model_type" in described else "mamba_ssm"
    config = convert_config(described, source)
    if (path / "tokenizer.json").is_file():
        config = replace(config, tokenizer=str(path / "tokenizer.json"))
    model = registry.build(TASK, config=config)
    try:
        model.load_state_dict(convert_checkpoint(_tensors(path), source))
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit its config.json: {error}") from error
    return model.to(device).eval()


def _tensors(path: Path) -> dict[str, Tensor]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return {
            k: v for shard in sorted(shards) for k, v in load_file(path / Path(shard).name).items()
        }
    for name in _FILES:
        file = path / name
        if file.is_file():
            pickled = file.suffix == ".bin"
            return torch.load(file, weights_only=True) if pickled else load_file(file)
    raise WeightsError(f"{path} holds none of {', '.join((index.name, *_FILES))}")
