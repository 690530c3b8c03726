"""A task's model before any weights are loaded: what ``build`` and ``from_pretrained`` share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mamba_registry import tasks
from mamba_registry.errors import TaskSpecError

if TYPE_CHECKING:
    from torch import nn

    from mamba_registry.specs import WeightsSpec


def fresh(
    task_id: str,
    *,
    preset: str | None = None,
    config: Any = None,
    weights: WeightsSpec | None = None,
    fields: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return a model in training mode, ``model.task`` saying what it is.

    :param preset, config, fields: as for :func:`mamba_core.registry.build`.
    :param weights: which will be loaded; they bring their preset.
    :raises ConfigError, DependencyMissingError, TaskSpecError: as ``build`` does.
    """
    from torch import nn

    spec, chosen, record = tasks.choose(
        task_id, preset=preset, config=config, weights=weights, fields=fields or {}
    )
    model = tasks.load_ref(spec, "builder")(chosen)
    if not isinstance(model, nn.Module):
        raise TaskSpecError(
            f"the builder of '{spec.full_id}' returned {model!r}: expected a torch.nn.Module"
        )
    model.task = record  # type: ignore[assignment]
    return model
