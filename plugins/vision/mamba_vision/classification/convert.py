"""Published checkpoints of Vim and VMamba in this plugin's names.

What is not known is an error, never dropped: a tensor that is left out gives another model
without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mamba_core import registry
from mamba_core.registry import WeightsError
from mamba_vision.backbones.vim import VimConfig
from mamba_vision.backbones.vmamba import VMambaConfig
from mamba_vision.classification.config import ClassifierConfig
from mamba_vision.classification.model import ImageClassifier

State = dict[str, Tensor]

_SHOWN = 4
"""Keys that an error names."""


def convert_checkpoint(
    state_dict: Mapping[str, Any], preset: str | ClassifierConfig, *, ema: bool = False
) -> State:
    """Rename the tensors of an official checkpoint for a model of ``vision-cls``.

    :param state_dict: its tensors, or the whole file with ``model`` (and ``model_ema``).
    :param preset: which model they are of: a preset of the Vim or VMamba family, or its config.
    :param ema: of a whole file, take the averaged weights, which published figures are of.
    :returns: what ``load_state_dict`` (strict) takes; tensors are not copied where they fit.
    :raises WeightsError: for a preset of another family, and for tensors that are missing, not
        known or of another shape, with the first of them.
    """
    config = (
        preset
        if isinstance(preset, ClassifierConfig)
        else registry.config("vision-cls", preset=preset)
    )
    rename = _CONVERTERS.get(type(config.architecture))
    if rename is None:
        raise WeightsError(
            f"architecture.kind = {config.architecture.kind!r}: published checkpoints of vim and "
            "vmamba are known"
        )
    converted = rename(_tensors(state_dict, ema), config)
    with torch.device("meta"):
        model = ImageClassifier(config)
    _compare(converted, model.state_dict(), config)
    return converted


def _tensors(state: Mapping[str, Any], ema: bool) -> State:
    """The tensors of a file that may hold several sets."""
    name = "model_ema" if ema else "model"
    if name in state:
        return dict(state[name])
    if ema or any(not isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"the checkpoint has no {name!r}: it holds {', '.join(map(str, list(state)[:_SHOWN]))}"
        )
    return dict(state)


def _compare(converted: State, wanted: Mapping[str, Tensor], config: ClassifierConfig) -> None:
    """Raise unless names and shapes are those of the model."""
    shapes = [
        f"{name} {tuple(converted[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in converted and converted[name].shape != tensor.shape
    ]
    found = (
        ("missing", [name for name in wanted if name not in converted]),
        ("not known", [name for name in converted if name not in wanted]),
        ("of another shape", shapes),
    )
    if converted.keys() == wanted.keys() and all(line.startswith("head.") for line in shapes):
        _compare_classes(converted, config)
    wrong = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in found
        if names
    ]
    if wrong:
        raise WeightsError(
            f"the checkpoint is of another model than this {config.architecture.kind!r}: "
            f"{'; '.join(wrong)}"
        )


def _compare_classes(converted: State, config: ClassifierConfig) -> None:
    """Raise when a checkpoint that fits otherwise tells other classes apart."""
    head = converted.get("head.weight")
    if head is not None and len(head) != config.num_classes:
        raise WeightsError(
            f"the checkpoint has {len(head)} classes, the model num_classes = "
            f"{config.num_classes}: convert with the checkpoint's number, then reset_classifier"
        )


_VIM_PLAIN = {
    "cls_token": "backbone.class_token",
    "patch_embed.proj.weight": "backbone.patch_embed.weight",
    "patch_embed.proj.bias": "backbone.patch_embed.bias",
    "norm_f.weight": "backbone.norm.weight",
}
_VIM_BACKWARD = {"A_b_log": "A_log", "D_b": "D"} | {
    f"{part}_b.{kind}": f"{part}.{kind}"
    for part in ("conv1d", "x_proj", "dt_proj")
    for kind in ("weight", "bias")
}
_VIM_LAYER = re.compile(r"layers\.(\d+)\.(norm|mixer)\.(.+)")


def _vim(state: State, config: ClassifierConfig) -> State:
    converted: State = {}
    for key, tensor in state.items():
        if key == "pos_embed":
            middle = (tensor.shape[1] - 1) // 2
            converted["backbone.class_position"] = tensor[:, middle : middle + 1]
            patches = torch.cat([tensor[:, :middle], tensor[:, middle + 1 :]], dim=1)
            converted["backbone.positions.weight"] = patches
        else:
            converted[_VIM_PLAIN.get(key) or _vim_layer(key)] = tensor
    return converted


def _vim_layer(key: str) -> str:
    match = _VIM_LAYER.fullmatch(key)
    if match is None:
        return key
    block = f"backbone.layers.blocks.{match[1]}"
    if match[2] == "norm":
        return f"{block}.norm.{match[3]}"
    if match[3] in _VIM_BACKWARD:
        return f"{block}.layers.0.others.0.{_VIM_BACKWARD[match[3]]}"
    return f"{block}.layers.0.mixer.{match[3]}"


_OLD_NAMES = (
    (r"patch_embed\.proj\.", "patch_embed.0."),
    (r"patch_embed\.norm\.", "patch_embed.2."),
    (r"(layers\.\d+\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
    (r"(layers\.\d+\.blocks\.\d+)\.self_attention\.", r"\1.op."),
    (r"^norm\.", "classifier.norm."),
    (r"^head\.", "classifier.head."),
)
"""Of VMamba's first checkpoints -> of its later ones."""
_STEM = {
    "conv": {"0": "0", "2": "1", "5": "3", "7": "4"},
    "patch": {"0": "proj", "2": "norm"},
}
_VMAMBA_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(norm|norm2|op|mlp)\.(.+)")
_VMAMBA_DOWN = re.compile(r"layers\.(\d+)\.downsample\.(\w+)\.(\w+)")


def _vmamba(state: State, config: ClassifierConfig) -> State:
    converted: State = {}
    for old, tensor in state.items():
        key = old
        for pattern, new in _OLD_NAMES:
            key = re.sub(pattern, new, key)
        converted |= _vmamba_tensor(key, tensor, config.architecture)  # type: ignore[arg-type]
    return converted


def _vmamba_tensor(key: str, tensor: Tensor, architecture: VMambaConfig) -> State:
    if match := _VMAMBA_BLOCK.fullmatch(key):
        per_layer = 2 if architecture.mlp_ratio else 1
        place = int(match[2]) * per_layer + (match[3] in ("norm2", "mlp"))
        block = f"backbone.stages.{match[1]}.layers.blocks.{place}"
        if match[3] in ("norm", "norm2"):
            return {f"{block}.norm.{match[4]}": tensor}
        if match[3] == "op":
            return _ss2d(f"{block}.layers.0", match[4], tensor)
        return {f"{block}.layers.0.{match[4]}": _linear(match[4], tensor)}
    if match := _VMAMBA_DOWN.fullmatch(key):
        part = {"1": "0", "3": "1"}.get(match[2], match[2])
        return {f"backbone.stages.{match[1]}.downsample.{part}.{match[3]}": tensor}
    stem = _STEM.get(architecture.stem, {})
    first, _, rest = key.partition(".")
    number, _, kind = rest.partition(".")
    if first == "patch_embed" and number in stem:
        return {f"backbone.stem.{stem[number]}.{kind}": tensor}
    if first == "classifier":
        return {f"backbone.{rest}" if number == "norm" else rest: tensor}
    return {key: tensor}


_PER_PATH = {
    "x_proj_weight": "x_proj.weight",
    "dt_projs_weight": "dt_proj.weight",
    "dt_projs_bias": "dt_proj.bias",
    "A_logs": "A_log",
}
_PATHS = 4


def _ss2d(mixer: str, name: str, tensor: Tensor) -> State:
    """A tensor of SS2D; what is stacked over the four paths is taken apart."""
    if name == "Ds":
        return {f"{mixer}.D": tensor.reshape(_PATHS, -1)}
    if name not in _PER_PATH:
        return {f"{mixer}.{name}": _linear(name, tensor)}
    each = tensor.chunk(_PATHS)
    parts = each if name == "A_logs" else [part[0] for part in each]
    return {f"{mixer}.paths.{k}.{_PER_PATH[name]}": part for k, part in enumerate(parts)}


def _linear(name: str, tensor: Tensor) -> Tensor:
    """1x1 convolutions as Linears."""
    is_linear = name.endswith(".weight") and not name.startswith("conv2d") and tensor.dim() == 4
    return tensor.flatten(1) if is_linear else tensor


_CONVERTERS: dict[type, Callable[[State, ClassifierConfig], State]] = {
    VimConfig: _vim,
    VMambaConfig: _vmamba,
}


def _official(preset: str) -> Callable[[State], State]:
    """The converter of a weights record: averaged tensors where the file has them."""

    def convert(state: State) -> State:
        return convert_checkpoint(state, preset, ema="model_ema" in state)

    return convert


vim_tiny, vim_small, vim_base = (_official(f"vim_{size}") for size in ("tiny", "small", "base"))
vmamba_tiny, vmamba_small, vmamba_base = (
    _official(f"vmamba_{size}") for size in ("tiny", "small", "base")
)
