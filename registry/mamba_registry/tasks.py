"""The tasks as a user sees them: listed, specified, configured and built."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import Any

from mamba_registry import catalog
from mamba_registry.configs import check_preset, make_config, merge, preset_fields
from mamba_registry.errors import (
    ConfigError,
    DependencyMissingError,
    WeightsError,
)
from mamba_registry.lookup import conflict_of, find_task, install_line
from mamba_registry.refs import resolve
from mamba_registry.specs import TaskRecord, TaskSpec, WeightsSpec
from mamba_registry.suggest import suggest


class TaskList(tuple[TaskSpec, ...]):
    """The installed tasks; a tuple that prints as a table."""

    verbose = False
    domain: str | None = None

    def __repr__(self) -> str:
        if not self:
            which = f"No task of domain '{self.domain}'" if self.domain else "No task"
            return f"{which} is installed. See `mamba-core list` and `mamba-core plugins`."
        rows = [("task", "domain", "summary", "presets")]
        for spec in self:
            presets = ", ".join(spec.presets) if self.verbose else str(len(spec.presets))
            mark = " (conflict)" if conflict_of(_offers_of(spec)) else ""
            rows.append((spec.full_id + mark, spec.domain, spec.summary, presets))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows
        )


def _offers_of(spec: TaskSpec) -> list[catalog.Offer]:
    return [o for o in catalog.offers("tasks") if o.spec.full_id == spec.full_id]


def list_tasks(domain: str | None = None, *, verbose: bool = False) -> TaskList:
    """Return the installed tasks by id, each full id once.

    :param domain: only those of one domain, for instance ``"audio"``.
    :param verbose: print the preset names instead of their number.
    """
    by_id = {offer.spec.full_id: offer.spec for offer in catalog.offers("tasks")}
    chosen = [s for _, s in sorted(by_id.items()) if domain is None or s.domain == domain]
    tasks = TaskList(chosen)
    tasks.verbose, tasks.domain = verbose, domain
    return tasks


def config(task_id: str, *, preset: str | None = None, fields: Mapping[str, Any]) -> Any:
    """Return a task's model config: the preset's fields with ``fields`` laid over them."""
    spec = find_task(task_id).spec
    require(spec)
    return _config(spec, preset, fields)


def _config(spec: TaskSpec, preset: str | None, fields: Mapping[str, Any]) -> Any:
    name = check_preset(spec, preset)
    presets = _import(spec, spec.preset_fields)
    cls = _import(spec, spec.config)
    own = merge(preset_fields(spec, presets, name), fields, cls)
    return make_config(cls, own, role="model")


def role_config(spec: TaskSpec, role: str, fields: Mapping[str, Any]) -> Any:
    """Return a config of another role: ``data_config``, ``predict_config`` or ``train_config``.

    :returns: the config, or None when the task has no such role and no fields are given.
    :raises ConfigError: for fields of a role the task does not have.
    """
    ref = getattr(spec, role)
    if ref is None:
        if fields:
            raise ConfigError(f"Task '{spec.full_id}' has no {role}, but fields were given")
        return None
    cls = _import(spec, ref)
    return make_config(cls, merge({}, fields, cls), role=role.removesuffix("_config"))


def choose(
    task_id: str,
    *,
    preset: str | None,
    config: Any,
    weights: WeightsSpec | None,
    fields: Mapping[str, Any],
) -> tuple[TaskSpec, Any, TaskRecord]:
    """Settle what :func:`build` builds: the record, the config and where they came from.

    :raises ConfigError: for a config beside preset or fields, or weights of another preset.
    """
    offer = find_task(task_id)
    spec: TaskSpec = offer.spec
    require(spec)
    if config is not None and (preset is not None or fields):
        raise ConfigError(
            "config is complete: give it alone, or give preset and fields and no config"
        )
    if weights is not None:
        preset = _preset_of(spec, weights, preset)
    if config is None:
        preset = check_preset(spec, preset)
        config = _config(spec, preset, fields)
    else:
        cls = _import(spec, spec.config)
        if not isinstance(config, cls):
            raise ConfigError(
                f"config is a {type(config).__name__}; task '{spec.full_id}' takes {cls.__name__}"
            )
        preset = None
    if weights is not None and config != _config(spec, weights.preset, {}):
        _refuse_changed(spec, weights, config)
    record = TaskRecord(
        id=spec.id,
        version=spec.version,
        plugin=offer.plugin.name,
        distribution=offer.plugin.distribution,
        plugin_version=offer.plugin.version,
        config=config,
        preset=preset,
        weights=weights.name if weights else None,
    )
    return spec, config, record


def _preset_of(spec: TaskSpec, weights: WeightsSpec, preset: str | None) -> str:
    if preset is not None and preset != weights.preset:
        raise ConfigError(
            f"weights '{weights.name}' of '{spec.full_id}' are for the preset "
            f"'{weights.preset}', not '{preset}': leave preset out, or weights"
        )
    return weights.preset


def _refuse_changed(spec: TaskSpec, weights: WeightsSpec, config: Any) -> None:
    trained = _config(spec, weights.preset, {})
    changed = [
        field.name
        for field in dataclasses.fields(trained)
        if getattr(trained, field.name) != getattr(config, field.name)
    ]
    raise ConfigError(
        f"weights '{weights.name}' of '{spec.full_id}' were trained with other values of "
        f"{', '.join(changed)}: leave these fields out, or weights"
    )


def find_weights(spec: TaskSpec, name: str) -> WeightsSpec:
    """Return one of a task's weights; ``"default"`` is the stated or first entry.

    :raises WeightsError: when there are none of that name.
    """
    names = [weights.name for weights in spec.weights]
    if not names:
        missing = "" if name == "default" else f"There is no folder or file '{name}'. "
        raise WeightsError(
            f"{missing}Task '{spec.full_id}' ships no trained weights: train it "
            f"(`mamba-core train {spec.id} --out DIR`) and load that folder"
        )
    wanted = (spec.default_weights or names[0]) if name == "default" else name
    for weights in spec.weights:
        if weights.name == wanted:
            return weights
    raise WeightsError(
        f"Task '{spec.full_id}' has no weights '{name}'.{suggest(name, names)} "
        f"Weights: {', '.join(names)}, or the path of a folder or file."
    )


def require(spec: TaskSpec) -> None:
    """Check the libraries a task needs, by importing them: ``find_spec`` accepts broken ones.

    :raises DependencyMissingError: with the real import error and the way out.
    """
    for name in spec.requires:
        library = name.split(".")[0]
        if importlib.util.find_spec(library) is None:
            raise DependencyMissingError(
                f"Task '{spec.full_id}' needs {library}, which is not installed: "
                f"{install_line(library)}"
            )
        _import(spec, name)


def _import(spec: TaskSpec, ref: Any) -> Any:
    return resolve(ref, what=f"Task '{spec.full_id}'")


def load_ref(spec: TaskSpec, name: str) -> Any:
    """Import a ref field of a task's record, import errors explained.

    :param name: a field such as ``"builder"`` or ``"loss"``.
    :raises ConfigError: when the task does not have it.
    """
    ref = getattr(spec, name)
    if ref is None:
        raise ConfigError(f"Task '{spec.full_id}' has no {name}")
    return _import(spec, ref)
