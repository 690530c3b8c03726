"""Any backbone, a norm per level, a decoder, and logits for every pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.pretrained import SavePretrained
from mamba_vision.backbones.choose import make_backbone
from mamba_vision.backbones.parts import LayerNorm2d
from mamba_vision.segmentation.config import IGNORE, SegmenterConfig
from mamba_vision.segmentation.decoders import build_decoder, resized


class Segmenter(nn.Module, SavePretrained):
    """Logits per class and pixel.

    The backbone's weights lie under ``backbone.`` and have the names of the other vision tasks, so
    ``segmenter.backbone.load_state_dict(classifier.backbone.state_dict())`` starts from those of a
    classifier. What only its pooled features need (the last norm) is kept for this and not trained.

    :param config: see :class:`~mamba_vision.segmentation.config.SegmenterConfig`.
    :raises ConfigError: for a decoder that does not fit the backbone's levels, and for a mixer or
        order that the architecture cannot take.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config)
        for part in self.backbone.head_parts():
            part.requires_grad_(False)
        levels = self.backbone.levels
        self.norms = nn.ModuleList(LayerNorm2d(level.channels) for level in levels)
        self.decoder = build_decoder(config.decoder, levels, config.in_chans)
        self.drop = nn.Dropout2d(config.drop_rate)
        self.head = nn.Conv2d(self.decoder.out_channels, config.num_classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Segment images.

        :param images: ``(batch, in_chans, height, width)``, normalised by the config's mean and
            std; any size of at least one patch.
        :returns: ``{"logits": (batch, num_classes, height, width)}``.
        :raises ValueError: for another number of channels, or images smaller than a patch.
        """
        maps = self.backbone.forward_levels(images)[1]
        normed = [norm(grid) for norm, grid in zip(self.norms, maps, strict=True)]
        logits = self.head(self.drop(self.decoder(images, normed)))
        return {"logits": resized(logits, images)}

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """Prepare for another image size ``(H, W)``: learned positions are resampled for good."""
        self.backbone.set_input_size(image_size)

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.backbone.set_gradient_checkpointing(on)


def example(
    config: SegmenterConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return noise whose brightness in each half (left, right) grows with that half's class.

    :returns: ``images`` float32 ``(batch, in_chans, height, width)``; ``masks`` int64
        ``(batch, height, width)``, the first row ignored.
    """
    height, width = config.image_size
    halves = torch.randint(config.num_classes, (batch_size, 2), generator=generator)
    columns = (torch.arange(width) >= width // 2).long()
    masks = halves[:, columns][:, None].repeat(1, height, 1)
    noise = torch.randn(batch_size, config.in_chans, height, width, generator=generator)
    images = noise * 0.5 + (2 * masks / config.num_classes - 1)[:, None]
    masks[:, 0] = IGNORE
    return {"images": images.to(device), "masks": masks.to(device)}
