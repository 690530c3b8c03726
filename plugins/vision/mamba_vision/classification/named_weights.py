"""Named weights in torchvision's manner: an address, the transforms they need, what is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from mamba_core import registry
from mamba_registry import WeightsSpec
from mamba_registry.tasks import find_weights
from mamba_vision.classification.config import ClassifierConfig, ClassifierPredict
from mamba_vision.classification.model import ImageClassifier
from mamba_vision.classification.trained import RECIPES
from mamba_vision.images import Preparation, to_pixels

TASK = "vision-cls"


class ImageWeights:
    """One of the weights of ``vision-cls``, with the members of torchvision's weights.

    :param spec: the registry's record; ``name``, ``url`` (None for weights that come with the
        package) and ``preset`` are taken from it.
    """

    def __init__(self, spec: WeightsSpec) -> None:
        self.spec, self.name, self.url, self.preset = spec, spec.name, spec.url, spec.preset

    def __repr__(self) -> str:
        return f"ImageWeights({self.name!r})"

    def config(self) -> ClassifierConfig:
        """Return the config of the model that has these weights."""
        config = registry.config(TASK, preset=self.preset)
        assert isinstance(config, ClassifierConfig)
        return config

    def transforms(self, crop: float | None = None) -> Callable[[Any], Tensor]:
        """Return what makes one image ready for the model, exactly as the predictor does.

        :param crop: see :class:`~mamba_vision.classification.config.ClassifierPredict`; None is
            its default.
        :returns: a ``v2.Compose`` from a path, a PIL image, an array ``(H, W[, C])`` or a tensor
            ``(C, H, W)`` (integers 8-bit, floats in 0 to 1) to float32 ``(in_chans, height,
            width)``, normalised.
        """
        config = self.config()
        crop = ClassifierPredict().crop if crop is None else crop
        read = partial(to_pixels, in_chans=config.in_chans)
        return v2.Compose([read, Preparation(config, crop)])

    @property
    def meta(self) -> dict[str, Any]:
        """What is known.

        ``num_params``; ``categories``, names of the classes in order, or their numbers as text;
        ``metrics``, measured by us on the task's own test set, empty where nothing was;
        ``min_size``, height and width of the smallest image that a model takes; ``recipe``, the
        command that made them, None for those of others; ``licence``; ``address``, of the file.
        """
        config = self.config()
        with torch.device("meta"):
            model = ImageClassifier(config)
        smallest = getattr(config.architecture, "patch_size", model.backbone.levels[0].stride)
        return {
            "num_params": sum(parameter.numel() for parameter in model.parameters()),
            "categories": config.labels or tuple(str(k) for k in range(config.num_classes)),
            "metrics": dict(self.spec.metrics),
            "min_size": (smallest, smallest),
            "recipe": RECIPES.get(self.name),
            "licence": self.spec.licence,
            "address": self.url or self.spec.resource,
        }

    def get_state_dict(self) -> dict[str, Tensor]:
        """Return the tensors in this plugin's names, fetched and converted where they need it.

        :raises WeightsError: for a file that cannot be had, or is not what it should be.
        """
        return registry.build(TASK, weights=self.name).state_dict()


def get_weight(name: str) -> ImageWeights:
    """Return weights by their name, for instance ``"mnist_250k"``.

    :raises WeightsError: when there are none of that name, with those that there are.
    """
    return ImageWeights(find_weights(registry.spec(TASK), name))
