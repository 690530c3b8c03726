"""Image backbones, one file per family, and the choice between them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mamba_vision.backbones.base import ImageBackbone, Level
from mamba_vision.backbones.cct import CCT, CCTConfig
from mamba_vision.backbones.efficientvmamba import EfficientVMamba, EfficientVMambaConfig
from mamba_vision.backbones.hybrid import Hybrid, HybridConfig
from mamba_vision.backbones.mixing import Mixing
from mamba_vision.backbones.plainmamba import PlainMambaColumn, PlainMambaConfig
from mamba_vision.backbones.resnet import ResNet, ResNetConfig
from mamba_vision.backbones.unet import UNetEncoder, UNetEncoderConfig
from mamba_vision.backbones.vim import Vim, VimConfig
from mamba_vision.backbones.vmamba import VMamba, VMambaConfig

Architecture = Annotated[
    VimConfig
    | VMambaConfig
    | EfficientVMambaConfig
    | PlainMambaConfig
    | HybridConfig
    | ResNetConfig
    | CCTConfig
    | UNetEncoderConfig,
    Field(discriminator="kind"),
]
"""The config of a backbone; ``kind`` says which."""

_CLASSES: dict[type, type[ImageBackbone]] = {
    VimConfig: Vim,
    VMambaConfig: VMamba,
    EfficientVMambaConfig: EfficientVMamba,
    PlainMambaConfig: PlainMambaColumn,
    HybridConfig: Hybrid,
    ResNetConfig: ResNet,
    CCTConfig: CCT,
    UNetEncoderConfig: UNetEncoder,
}


def build_backbone(
    architecture: Architecture, image_size: tuple[int, int], in_chans: int
) -> ImageBackbone:
    """Build the backbone of a config.

    :param image_size: height and width that learned positions are made for.
    :param in_chans: channels of the images.
    """
    return _CLASSES[type(architecture)](architecture, image_size, in_chans)  # type: ignore[call-arg,arg-type]


__all__ = ["Architecture", "ImageBackbone", "Level", "Mixing", "build_backbone"]
