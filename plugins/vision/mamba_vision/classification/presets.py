"""Sizes of ``vision-cls``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

from mamba_vision.backbones.local_scan import LOCAL_ORDER

_CIFAR = {
    "image_size": (32, 32),
    "num_classes": 10,
    "mean": (0.4913, 0.4821, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
}
_MNIST = {
    "image_size": (28, 28),
    "in_chans": 1,
    "num_classes": 10,
    "mean": (0.1307,),
    "std": (0.3081,),
}
_VIM = {"kind": "vim", "depth": 24}


def _small(d_model: int, depth: int, **more: Any) -> dict[str, Any]:
    """A column for small images: a convolution before patches, no class token, any mixer."""
    return {
        "kind": "vim",
        "patch_size": 4,
        "d_model": d_model,
        "depth": depth,
        "class_token": "none",
        "conv_layers": 1,
        "mixing": {"mixer": {"name": "mamba1", "d_state": 8}},
        **more,
    }


def _vmamba(depths: tuple[int, ...], width: int, expand: int, drop_path: float) -> dict[str, Any]:
    mixer = {"name": "ss2d", "expand": expand}
    mixing = {"mixer": mixer, "scan_order": "cross", "merge": "sum"}
    return {
        "kind": "vmamba",
        "depths": depths,
        "width": width,
        "mixing": mixing,
        "drop_path": drop_path,
    }


def _vanilla(depths: tuple[int, ...], width: int, drop_path: float) -> dict[str, Any]:
    mixer = {"name": "ss2d", "d_state": 16, "expand": 2, "gated": True, "conv_bias": True}
    mixing = {"mixer": mixer, "scan_order": "cross", "merge": "sum"}
    return {
        **_vmamba(depths, width, 2, drop_path),
        "mixing": mixing,
        "mlp_ratio": 0.0,
        "stem": "patch",
        "down": "merge",
    }


_LOCAL = {"mixer": "local-scan", "scan_order": LOCAL_ORDER}


def _localvim(d_model: int) -> dict[str, Any]:
    return {**_VIM, "depth": 20, "d_model": d_model, "class_token": "none", "mixing": _LOCAL}


def _localvmamba(depths: tuple[int, ...], drop_path: float) -> dict[str, Any]:
    return {**_vanilla(depths, 96, drop_path), "mixing": _LOCAL}


def _efficient(depths: tuple[int, ...], width: int, expand: float) -> dict[str, Any]:
    return {"kind": "efficientvmamba", "depths": depths, "width": width, "expand": expand}


_TINY_HIERARCHY = {
    "kind": "vmamba",
    "depths": (1, 1, 1, 1),
    "width": 16,
    "mlp_ratio": 2.0,
    "stem": "small",
    "drop_path": 0.0,
}
"""For small images on a CPU: 2 to 16 pixels per cell, 250 k parameters."""
_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vim_tiny": _VIM,
    "vim_tiny_stride8": {**_VIM, "stride": 8},
    "vim_small": {**_VIM, "d_model": 384},
    "vim_base": {**_VIM, "d_model": 768},
    "vmamba_tiny": _vmamba((2, 2, 8, 2), 96, 1, 0.2),
    "vmamba_tiny_s2l5": _vmamba((2, 2, 5, 2), 96, 2, 0.2),
    "vmamba_small": _vmamba((2, 2, 15, 2), 96, 2, 0.3),
    "vmamba_small_s1l20": _vmamba((2, 2, 20, 2), 96, 1, 0.3),
    "vmamba_base": _vmamba((2, 2, 15, 2), 128, 2, 0.6),
    "vmamba_base_s1l20": _vmamba((2, 2, 20, 2), 128, 1, 0.5),
    "vmamba_vanilla_tiny": _vanilla((2, 2, 9, 2), 96, 0.2),
    "vmamba_vanilla_small": _vanilla((2, 2, 27, 2), 96, 0.3),
    "vmamba_vanilla_base": _vanilla((2, 2, 27, 2), 128, 0.6),
    "plainmamba_l1": {"kind": "plainmamba", "local": True},
    "plainmamba_l2": {"kind": "plainmamba", "d_model": 384, "drop_path": 0.2},
    "plainmamba_l3": {"kind": "plainmamba", "d_model": 448, "depth": 36, "drop_path": 0.3},
    "localvim_tiny": _localvim(192),
    "localvim_small": _localvim(384),
    "localvmamba_tiny": _localvmamba((2, 2, 9, 2), 0.2),
    "localvmamba_small": _localvmamba((2, 2, 27, 2), 0.3),
    "efficientvmamba_tiny": _efficient((2, 2, 4, 2), 48, 5.5),
    "efficientvmamba_small": _efficient((2, 2, 9, 2), 64, 4.0),
    "efficientvmamba_base": _efficient((2, 2, 9, 2), 96, 6.0),
    "vssd_tiny": {
        "kind": "vmamba",
        "depths": (2, 4, 8, 4),
        "width": 64,
        "mixing": {"mixer": {"name": "vssd", "d_state": 64}},
        "last_mixing": {
            "mixer": {"name": "attention", "num_heads": 16, "causal": False},
            "scan_order": "raster",
        },
    },
    "mamba2d_tiny": {
        "kind": "vmamba",
        "depths": (3, 3, 9, 3),
        "width": 78,
        "mixing": {"mixer": {"name": "mamba2d", "expand": 1}},
    },
    "mambahybrid_tiny": {"kind": "hybrid"},
}
"""Published models, 1000 classes at 224x224."""

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "image_size": (16, 16),
        "num_classes": 10,
        "architecture": _small(32, 2, conv_layers=0)
        | {"mixing": {"mixer": {"name": "mamba2", "d_state": 8, "headdim": 16, "chunk_size": 16}}},
    },
    # small images, from scratch
    "mnist_250k": {**_MNIST, "architecture": _TINY_HIERARCHY},
    "digits_8x8": {
        "image_size": (8, 8),
        "in_chans": 1,
        "num_classes": 10,
        "mean": (0.305,),
        "std": (0.376,),
        "architecture": _small(48, 4, conv_layers=2, patch_size=2),
    },
    "cifar_250k": {**_CIFAR, "architecture": _TINY_HIERARCHY},
    "cifar_1m": {**_CIFAR, "architecture": _small(128, 6, conv_layers=2)},
    "cifar_5m": {**_CIFAR, "architecture": _small(256, 9, conv_layers=2)},
}
_CCT = {"kind": "cct", "conv_layers": 2, "kernel": 3}
_VIT = {"kind": "cct", "conv_layers": 0, "pool": "mean", "mlp_ratio": 2.0}
PRESETS |= {
    # peers, for comparisons in the same harness
    "resnet20": {**_CIFAR, "architecture": {"kind": "resnet"}},
    "cct_2_3x2": {**_CIFAR, "architecture": _CCT},
    "cct_7_3x1": {
        **_CIFAR,
        "architecture": {
            "kind": "cct",
            "conv_layers": 1,
            "kernel": 3,
            "d_model": 256,
            "depth": 7,
            "heads": 4,
            "mlp_ratio": 2.0,
        },
    },
    "vit_mnist_250k": {
        **_MNIST,
        "architecture": {**_VIT, "d_model": 80, "depth": 4, "heads": 4},
    },
    "vit_cifar_250k": {
        **_CIFAR,
        "architecture": {**_VIT, "d_model": 80, "depth": 5, "heads": 4},
    },
    "vit_cifar_1m": {
        **_CIFAR,
        "architecture": {**_VIT, "d_model": 128, "depth": 7, "heads": 4},
    },
}
PRESETS |= {name: {"architecture": fields} for name, fields in _ARCHITECTURES.items()}
