"""Checkpoints of ``mamba_ssm`` and ``transformers`` in this plugin's names.

Shapes agree everywhere, so only keys and config fields are renamed. What is not known is an
error, never dropped: a tensor that is left out gives another model without a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from mamba_core.registry import ConfigError, WeightsError
from mamba_language.lm.config import LanguageModelConfig

Source = Literal["mamba_ssm", "transformers"]
"""Whose names a checkpoint has."""

_EMBEDDING = {
    "mamba_ssm": "backbone.embedding.weight",
    "transformers": "backbone.embeddings.weight",
}
_LAYER = re.compile(r"backbone\.layers\.(\d+)\.(norm|mixer|norm2|mlp)\.(.+)")


def convert_checkpoint(state: Mapping[str, Tensor], source: Source) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint for :class:`~mamba_language.lm.model.MambaLM`.

    :param state: all its tensors; they are not copied.
    :param source: whose names they have.
    :returns: what ``load_state_dict`` (strict) takes. A head that is missing because it is tied
        is the embedding.
    :raises WeightsError: for tensors that are not known, or missing from embedding, norms or
        the row of layers.
    """
    if source not in _EMBEDDING:
        raise WeightsError(f"source = {source!r}: checkpoints of {', '.join(_EMBEDDING)} are known")
    plain = {
        _EMBEDDING[source]: "embedding.weight",
        "backbone.norm_f.weight": "backbone.norm.weight",
        "backbone.norm_f.bias": "backbone.norm.bias",
        "lm_head.weight": "lm_head.weight",
    }
    with_mlp = any(".mlp." in key for key in state)
    converted: dict[str, Tensor] = {}
    unexpected = []
    for key, tensor in state.items():
        name = plain.get(key) or _layer_name(key, with_mlp)
        if name is None:
            unexpected.append(key)
        else:
            converted[name] = tensor
    if "embedding.weight" in converted:
        converted.setdefault("lm_head.weight", converted["embedding.weight"])
    _refuse(source, _missing(converted), unexpected)
    return converted


def from_mamba_ssm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``WeightsSpec.converter`` for files of ``mamba_ssm``; see :func:`convert_checkpoint`."""
    return convert_checkpoint(state, "mamba_ssm")


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``WeightsSpec.converter`` for files of ``transformers``; see :func:`convert_checkpoint`."""
    return convert_checkpoint(state, "transformers")


def _layer_name(key: str, with_mlp: bool) -> str | None:
    """Name of a layer's tensor; a layer of mixer and MLP is two blocks here."""
    match = _LAYER.fullmatch(key)
    if match is None:
        return None
    index, part, rest = int(match[1]), match[2], match[3]
    if with_mlp:
        index = 2 * index + (part in ("norm2", "mlp"))
    where = "norm" if part in ("norm", "norm2") else "layers.0"
    return f"backbone.blocks.{index}.{where}.{rest}"


def _missing(converted: Mapping[str, Tensor]) -> list[str]:
    """What every model has, whatever its mixer, and is not there."""
    blocks = [int(name.split(".")[2]) for name in converted if name.startswith("backbone.blocks.")]
    needed = ["embedding.weight", "lm_head.weight", "backbone.norm.weight"]
    needed += [f"backbone.blocks.{i}.norm.weight" for i in range(max(blocks, default=0) + 1)]
    return [name for name in needed if name not in converted]


def _refuse(source: str, missing: list[str], unexpected: list[str]) -> None:
    parts = [
        f"{len(names)} {what} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
        for what, names in (("missing", missing), ("not known", unexpected))
        if names
    ]
    if parts:
        raise WeightsError(
            f"The checkpoint is no Mamba language model of {source}: {'; '.join(parts)}. "
            f"Sources: {', '.join(_EMBEDDING)}."
        )


def convert_config(config: Mapping[str, Any], source: Source) -> LanguageModelConfig:
    """Return the config of a checkpoint's ``config.json``.

    :raises ConfigError: for what this plugin does not build, naming the field.
    """
    convert = _mamba_ssm_config if source == "mamba_ssm" else _transformers_config
    try:
        return LanguageModelConfig(**convert(config))
    except KeyError as error:
        raise ConfigError(f"the config of {source} lacks {error}") from error


def _mamba_ssm_config(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("attn_layer_idx"):
        raise ConfigError(
            "attn_layer_idx: attention with rotary positions and a convolution is not built here"
        )
    mixer = dict(config.get("ssm_cfg") or {})
    name = mixer.pop("layer", "Mamba1").lower()
    step = config.get("pad_vocab_size_multiple", 8)
    inner = config.get("d_intermediate", 0)
    return {
        "vocab_size": math.ceil(config["vocab_size"] / step) * step,
        "eos": 0,
        "tokenizer": "EleutherAI/gpt-neox-20b",
        "d_model": config["d_model"],
        "n_layer": config["n_layer"],
        "pattern": "M-" if inner else "M",
        "d_intermediate": inner or None,
        "mixer": {"name": name, **mixer},
        "norm": "rms" if config.get("rms_norm", True) else "layer",
        "residual_in_fp32": config.get("residual_in_fp32", True),
        "tie_embeddings": config.get("tie_embeddings", True),
    }


def _transformers_config(config: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"mamba": _transformers_mamba1, "mamba2": _transformers_mamba2}
    kind = config.get("model_type")
    if kind not in kinds:
        raise ConfigError(f"model_type = {kind!r}: {', '.join(kinds)} are built here")
    if config.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"hidden_act = {config['hidden_act']!r}: only silu is built here")
    eos = config.get("eos_token_id")
    return {
        "vocab_size": config["vocab_size"],
        "eos": (eos[0] if isinstance(eos, list | tuple) else eos) or 0,
        "tokenizer": "EleutherAI/gpt-neox-20b",
        "d_model": config["hidden_size"],
        "n_layer": config["num_hidden_layers"],
        "mixer": kinds[kind](config),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "residual_in_fp32": config.get("residual_in_fp32", True),
        "tie_embeddings": config.get("tie_word_embeddings", kind == "mamba"),
    }


def _transformers_mamba1(config: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "state_size": "d_state",
        "conv_kernel": "d_conv",
        "expand": "expand",
        "time_step_rank": "dt_rank",
        "use_bias": "bias",
        "use_conv_bias": "conv_bias",
    }
    return {"name": "mamba1", **{ours: config[n] for n, ours in names.items() if n in config}}


def _transformers_mamba2(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("layer_norm_epsilon", 1e-5) != 1e-5:
        raise ConfigError(
            f"layer_norm_epsilon = {config['layer_norm_epsilon']}: the gated norm of Mamba-2 has "
            "1e-5 here"
        )
    names = {
        "state_size": "d_state",
        "conv_kernel": "d_conv",
        "expand": "expand",
        "head_dim": "headdim",
        "n_groups": "ngroups",
        "use_bias": "bias",
        "use_conv_bias": "conv_bias",
        "chunk_size": "chunk_size",
    }
    mixer = {"name": "mamba2", **{ours: config[n] for n, ours in names.items() if n in config}}
    limit = tuple(map(_number, config.get("time_step_limit", (0.0, math.inf))))
    if limit != (0.0, math.inf):
        mixer["dt_limit"] = limit
    return mixer


def _number(value: Any) -> float:
    """A number of a ``config.json``: transformers writes infinity as ``{"__float__": ...}``."""
    return float(value["__float__"] if isinstance(value, Mapping) else value)
