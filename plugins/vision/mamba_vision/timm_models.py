"""The models of ``vision-cls`` for timm: :func:`register_timm`, then ``timm.create_model``.

timm is imported when it is asked for, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core import registry
from mamba_core.registry import WeightsError
from mamba_vision.backbones.base import feature_info
from mamba_vision.classification.config import ClassifierConfig, ClassifierPredict, ImageConfig
from mamba_vision.classification.model import ImageClassifier
from mamba_vision.classification.named_weights import TASK
from mamba_vision.features.config import BackboneConfig
from mamba_vision.features.model import FeatureExtractor

PREFIX = "mamba_vision_"
"""Stands before a preset in timm's list of models."""
_WITH_PREVIOUS = (99999,)
"""In timm's words: parameters of the group before them."""
_FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "NCHW": lambda level: level,
    "NHWC": lambda level: level.movedim(1, -1),
    "NLC": lambda level: level.flatten(2).transpose(1, 2),
}


class TimmClassifier(ImageClassifier):
    """An image classifier as timm has them: ``forward`` returns a tensor.

    The weights bear the names that they have in ``registry.build("vision-cls", ...)``.
    ``default_cfg`` (``pretrained_cfg``) says what ``timm.data`` asks for.

    :param config: see :class:`~mamba_vision.classification.config.ClassifierConfig`.
    """

    global_pool: str

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.default_cfg = self.pretrained_cfg = _default_cfg(self)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Return logits ``(batch, num_classes)``; see :meth:`ImageClassifier.forward`.

        Without a head the pooled ``(batch, num_features)``, without a pool the features.
        """
        return self.forward_head(self.forward_features(images))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """See :meth:`Classifier.forward_head`; without a pool the features as they are."""
        return super().forward_head(features, pre_logits) if self.global_pool else features

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a new one, or by none (0).

        :param global_pool: ``""`` leaves the features as they are, for which there is no head;
            the model's own (``"avg"``, with a class token ``"token"``) or None pool them.
        :raises ValueError: for another pool, and a head behind none.
        """
        own = "avg" if getattr(self.backbone, "class_token", None) is None else "token"
        pool = own if global_pool is None else global_pool
        if pool not in ("", own):
            raise ValueError(f"global_pool = {pool!r}: this model has {own!r}, or '' for none")
        if num_classes and not pool:
            raise ValueError(f"global_pool = '' leaves nothing for a head of {num_classes} classes")
        self.global_pool = pool
        super().reset_classifier(num_classes)

    def forward_intermediates(  # type: ignore[override]
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """See :meth:`ImageClassifier.forward_intermediates`.

        :param return_prefix_tokens: only False: a class token is in no map.
        :param norm: only False: maps are those between layers.
        :param stop_early: changes nothing but, with ``intermediates_only``, could save time; the
            later layers are computed all the same.
        :param output_fmt: ``NCHW``, ``NHWC`` or ``NLC``.
        :raises ValueError: for what is not offered.
        """
        if return_prefix_tokens or norm or output_fmt not in _FORMATS:
            raise ValueError(
                f"return_prefix_tokens = {return_prefix_tokens}, norm = {norm}, output_fmt = "
                f"{output_fmt!r}: offered are maps without class tokens and norms, in "
                f"{', '.join(_FORMATS)}"
            )
        features, maps = super().forward_intermediates(x, indices)
        maps = [_FORMATS[output_fmt](level) for level in maps]
        return maps if intermediates_only else (features, maps)

    def set_input_size(  # type: ignore[override]
        self, img_size: int | tuple[int, int] | None = None, patch_size: int | None = None
    ) -> None:
        """See :meth:`ImageClassifier.set_input_size`.

        :raises ValueError: for another size of patches, which would need other weights.
        """
        if patch_size is not None:
            raise ValueError(f"patch_size = {patch_size}: a built model keeps its patches")
        if img_size is not None:
            height, width = _pair(img_size)
            super().set_input_size((height, width))
            channels = self.default_cfg["input_size"][0]
            self.default_cfg["input_size"] = (channels, height, width)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return patterns from names to layers, shallow first, for rates that fall with depth.

        :param coarse: of a hierarchy its stages in place of its layers.
        """
        stage = r"^backbone\.stages\.(\d+)"
        blocks = [
            (stage + r"\.downsample", _WITH_PREVIOUS),
            (r"^backbone\.downs\.(\d+)", _WITH_PREVIOUS),
            (stage if coarse else stage + r"\.(?:layers\.)?(?:blocks\.)?(\d+)", None),
            (r"^backbone\.(?:first|local)\.", (-1,)),  # of PlainMamba, before the rest
            (r"^backbone\.(?:layers|rest)\.blocks\.(\d+)", None),
        ]
        stem = r"^backbone\.(?:stem|patch_embed|positions|class_|tokens|conv)"
        return {"stem": stem, "blocks": blocks}


class TimmFeatures(FeatureExtractor):
    """A backbone as timm's ``features_only`` gives it: ``forward`` returns a list of maps."""

    def forward(self, images: Tensor) -> list[Tensor]:  # type: ignore[override]
        """Return the maps, shallow first; see :meth:`FeatureExtractor.forward`."""
        return self.pyramid(images)

    @property
    def feature_info(self) -> Any:
        """A ``FeatureInfo`` of timm: ``.channels()``, ``.reduction()``, ``.module_name()``."""
        from timm.models import FeatureInfo

        return FeatureInfo(feature_info(self.backbone.levels), self.config.out_indices)


def register_timm() -> list[str]:
    """Make every preset of ``vision-cls`` known to timm, as ``mamba_vision_<preset>``.

    ``timm.create_model`` then takes ``num_classes, in_chans, img_size, drop_rate,
    drop_path_rate, global_pool, features_only, out_indices, pretrained``, and any field of the
    config. Called again it changes nothing.

    :returns: the names.
    :raises ImportError: without timm.
    """
    from timm.models import is_model, register_model

    names = [PREFIX + preset for preset in registry.spec(TASK).presets]
    for name in names:
        if not is_model(name):
            globals()[name] = register_model(_entry_point(name))  # timm lists it as one of ours
    return names


def _entry_point(name: str) -> Callable[..., nn.Module]:
    def build(pretrained: bool = False, **given: Any) -> nn.Module:
        return _build(name.removeprefix(PREFIX), pretrained, **given)

    build.__name__ = build.__qualname__ = name
    return build


def _build(
    preset: str,
    pretrained: bool,
    *,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    cache_dir: Any = None,
    img_size: int | tuple[int, int] | None = None,
    drop_path_rate: float | None = None,
    global_pool: str | None = None,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    **given: Any,
) -> nn.Module:
    if pretrained_cfg or pretrained_cfg_overlay or cache_dir:
        raise ValueError(
            "pretrained_cfg, pretrained_cfg_overlay and cache_dir are timm's own: weights are "
            "those of the registry, see mamba_vision.get_weight"
        )
    if img_size is not None:
        given["image_size"] = _pair(img_size)
    if drop_path_rate is not None:
        given["architecture"] = {**given.get("architecture", {}), "drop_path": drop_path_rate}
    config = _config(preset, given)
    model = _features(config, out_indices) if features_only else TimmClassifier(config)
    if isinstance(model, TimmClassifier) and global_pool is not None:
        model.reset_classifier(config.num_classes, global_pool)
    if pretrained:
        _load(model, preset)
    return model


def _config(preset: str, given: dict[str, Any]) -> ClassifierConfig:
    """The preset's config; of another number of channels with the mean of its statistics."""
    own = registry.config(TASK, preset=preset)
    channels = given.get("in_chans", own.in_chans)
    if channels != own.in_chans:
        same = {"mean": (fmean(own.mean),) * channels, "std": (fmean(own.std),) * channels}
        given = {**same, **given}
    config = registry.config(TASK, preset=preset, **given)
    assert isinstance(config, ClassifierConfig)
    return config


def _features(config: ClassifierConfig, out_indices: int | Sequence[int] | None) -> TimmFeatures:
    shared = {field.name: getattr(config, field.name) for field in fields(ImageConfig)}
    with torch.device("meta"):
        count = len(FeatureExtractor(BackboneConfig(**shared, out_indices=(0,))).backbone.levels)
    if isinstance(out_indices, int):
        out_indices = range(count - out_indices, count)
    given = range(count) if out_indices is None else out_indices
    chosen = tuple(index + count if index < 0 else index for index in given)
    return TimmFeatures(BackboneConfig(**shared, out_indices=chosen))


def _load(model: TimmClassifier | TimmFeatures, preset: str) -> None:
    """Load the preset's named weights, adapted to the model's size, channels and classes."""
    from timm.models import adapt_input_conv

    names = [weights.name for weights in registry.spec(TASK).weights if weights.preset == preset]
    if not names:
        raise WeightsError(f"pretrained=True: there are no weights of {preset!r} yet")
    source: Any = registry.build(TASK, weights=names[0])
    source.set_input_size(model.config.image_size)
    state = source.state_dict()
    first = f"{_first_conv(model)}.weight"
    channels = model.config.in_chans
    state[first] = adapt_input_conv(channels, state[first], source.config.in_chans)
    own = model.state_dict()
    for name in ("head.weight", "head.bias"):
        if name not in own:
            del state[name]
        elif own[name].shape != state[name].shape:
            state[name] = own[name]  # of other classes: a fresh head
    model.load_state_dict(state)


def _default_cfg(model: TimmClassifier) -> dict[str, Any]:
    config = model.config
    return {
        "input_size": (config.in_chans, *config.image_size),
        "mean": config.mean,
        "std": config.std,
        "crop_pct": ClassifierPredict().crop,
        "crop_mode": "center",
        "interpolation": "bilinear",
        "num_classes": config.num_classes,
        "license": "apache-2.0",
        "first_conv": _first_conv(model),
        "classifier": "head",
    }


def _first_conv(model: nn.Module) -> str:
    """Name of the module that reads the pixels."""
    return next(name for name, part in model.named_modules() if isinstance(part, nn.Conv2d))


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
