"""A clip classifier: a backbone over all frames, and a linear head."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mamba_core.registry import ConfigError
from mamba_vision.backbones.choose import with_own_mixers
from mamba_vision.backbones.videomamba import VideoMamba, VideoMambaConfig
from mamba_vision.labelling.model import Classifier, draw_labels, labelled
from mamba_vision.video.config import VideoConfig
from mamba_vision.video.frame_mean import FrameMean


class VideoClassifier(Classifier):
    """Logits per class.

    :param config: see :class:`~mamba_vision.video.config.VideoConfig`.
    :raises ConfigError: for a mixer or order that the architecture cannot take.
    """

    config: VideoConfig

    def __init__(self, config: VideoConfig) -> None:
        super().__init__(config, _backbone(config))

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Classify clips.

        :param clips: ``(batch, frames, in_chans, height, width)``, normalised by the config's mean
            and std; any number of frames, and any size of at least one patch.
        :returns: ``{"logits": (batch, num_classes)}``; the pooled features without a head.
        :raises ValueError: for another number of channels, or frames smaller than a patch.
        """
        return {"logits": self.forward_head(self.forward_features(clips))}


def _backbone(config: VideoConfig) -> nn.Module:
    """The backbone with the mixer and order given beside the architecture."""
    architecture = config.architecture
    given = {"mixer": config.mixer, "scan_order": config.scan_order, "merge": config.merge}
    if not isinstance(architecture, VideoMambaConfig):
        image = with_own_mixers(architecture.image, given)
        changed = replace(architecture, image=image)
        return FrameMean(changed, config.image_size, config.frames, config.in_chans)
    if architecture.alternation is not None and config.scan_order is not None:
        raise ConfigError(
            f"scan_order = {config.scan_order!r} stands beside architecture.alternation, which is "
            "an order itself: set architecture.alternation=None, or leave scan_order out"
        )
    architecture = with_own_mixers(architecture, given)
    return VideoMamba(architecture, config.image_size, config.frames, config.in_chans)


def example(
    config: VideoConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return noise whose brightness grows with the class.

    :returns: ``clips`` float32 ``(batch, frames, in_chans, height, width)``, ``labels`` int64
        ``(batch,)``, ``targets`` float32 ``(batch, num_classes)``.
    """
    classes = max(config.num_classes, 1)
    labels = draw_labels(batch_size, classes, generator)
    shape = (batch_size, config.frames, config.in_chans, *config.image_size)
    batch = labelled(torch.randn(shape, generator=generator), labels, classes)
    batch = {"clips": batch.pop("inputs"), **batch}
    return {name: value.to(device) for name, value in batch.items()}
