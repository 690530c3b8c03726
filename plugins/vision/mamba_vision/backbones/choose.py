"""From an image model's config to its backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from mamba_core.mixers import Merge, MixerChoice
from mamba_core.registry import ConfigError
from mamba_vision.backbones import ImageBackbone, build_backbone


class HasBackbone(Protocol):
    """The fields of a config that say which backbone to build."""

    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def in_chans(self) -> int: ...
    @property
    def architecture(self) -> Any: ...
    @property
    def mixer(self) -> MixerChoice | None: ...
    @property
    def scan_order(self) -> str | None: ...
    @property
    def merge(self) -> Merge | None: ...


def make_backbone(config: HasBackbone) -> ImageBackbone:
    """Build the backbone of a config, with the mixer and order given beside the architecture.

    :raises ConfigError: when the architecture has no mixer to replace.
    """
    given = {"mixer": config.mixer, "scan_order": config.scan_order, "merge": config.merge}
    architecture = with_own_mixers(config.architecture, given)
    return build_backbone(architecture, config.image_size, config.in_chans)


def with_own_mixers(architecture: Any, given: Mapping[str, Any]) -> Any:
    """Return an architecture's config with another mixer, scan order or merge.

    :param given: ``mixer``, ``scan_order`` and ``merge``; None keeps the architecture's own.
    :raises ConfigError: when the architecture has no mixer to replace.
    """
    if all(value is None for value in given.values()):
        return architecture
    fields = architecture.mixings() if hasattr(architecture, "mixings") else ()
    if not fields:
        named = ", ".join(name for name, value in given.items() if value is not None)
        raise ConfigError(
            f"architecture.kind = {architecture.kind!r} has no mixer of tokens to replace: "
            f"leave {named} out, or choose another kind"
        )
    changed = {name: getattr(architecture, name).changed(**given) for name in fields}
    return replace(architecture, **changed)
