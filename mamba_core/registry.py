"""The registry as applications use it: look up, build, predict, register.

>>> from mamba_core import registry
>>> registry.scan_order_spec("raster").name
'raster'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mamba_core.fresh import fresh
from mamba_registry import catalog, tasks
from mamba_registry.catalog import disable_plugins, isolated, plugins, refresh
from mamba_registry.configs import config_error
from mamba_registry.errors import (
    ConfigError,
    DependencyMissingError,
    MambaRegistryError,
    MixerError,
    PluginLoadError,
    ScanOrderError,
    TaskConflictError,
    TaskNotFoundError,
    TaskSpecError,
    WeightsError,
)
from mamba_registry.ids import parse_id
from mamba_registry.lookup import find_mixer, find_scan_order, find_task
from mamba_registry.refs import resolve
from mamba_registry.specs import (
    Continuity,
    Cover,
    MixerSpec,
    PluginInfo,
    ScanOrderSpec,
    TaskRecord,
    TaskSpec,
    WeightsSpec,
)
from mamba_registry.tasks import TaskList

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "ConfigError",
    "DependencyMissingError",
    "MambaRegistryError",
    "MixerError",
    "PluginInfo",
    "PluginLoadError",
    "ScanOrderError",
    "TaskConflictError",
    "TaskList",
    "TaskNotFoundError",
    "TaskRecord",
    "TaskSpec",
    "TaskSpecError",
    "WeightsError",
    "build",
    "config",
    "config_error",
    "disable_plugins",
    "example",
    "isolated",
    "list",
    "mixer",
    "mixer_spec",
    "mixers",
    "plugins",
    "predictor",
    "refresh",
    "register",
    "register_scan_order",
    "resolve",
    "scan_order",
    "scan_order_spec",
    "scan_orders",
    "spec",
]

T = TypeVar("T", bound=Callable[..., Any])

catalog.add_builtin("mamba_core.plugin")


def list(domain: str | None = None, verbose: bool = False) -> TaskList:
    """Return the installed tasks, a tuple that prints as a table.

    :param domain: only those of one domain, for instance ``"audio"``.
    :param verbose: print the names of the presets.
    """
    return tasks.list_tasks(domain, verbose=verbose)


def spec(task_id: str) -> TaskSpec:
    """Return a task's record.

    :raises TaskNotFoundError: with a suggestion, the install line and failed plugins' causes.
    :raises TaskConflictError: when two plugins offer it.
    """
    return find_task(task_id).spec


def config(task_id: str, *, preset: str | None = None, **fields: Any) -> Any:
    """Return a task's model config.

    :param preset: start from this preset instead of the default one.
    :param fields: fields to change; nested ones as dicts.
    :raises ConfigError: for a field that does not exist or a value out of its range.
    """
    return tasks.config(task_id, preset=preset, fields=fields)


def build(
    task_id: str,
    *,
    preset: str | None = None,
    config: Any = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    **fields: Any,
) -> nn.Module:
    """Build a task's model, fresh or trained.

    :param task_id: for instance ``"audio-sep"``.
    :param preset: a named set of config fields; None is the task's default.
    :param config: a complete config, in place of preset and fields.
    :param weights: name of the task's weights, ``"default"``, or the path of a saved folder or
        safetensors file. Named weights bring their preset with them, a folder its config; a file
        holds tensors only, so preset and fields say the shapes.
    :param pretrained: the same as ``weights="default"``.
    :param fields: config fields to change.
    :returns: the model, with ``model.task`` saying what it is. Fresh models are in training
        mode, trained ones in eval mode.
    :raises ConfigError: for unknown fields, values out of range, fields that contradict the
        weights.
    :raises DependencyMissingError: for a library that is missing or broken.
    :raises TaskSpecError: for a builder that does not return a module.
    :raises WeightsError: for weights that do not exist or cannot be had.
    """
    if pretrained and weights is not None:
        raise ConfigError(f"pretrained=True is weights='default'; weights={weights!r} is given too")
    wanted = "default" if pretrained else weights
    named = _named_weights(task_id, wanted)
    path = None if wanted is None or named is not None else Path(wanted)
    if path is not None and not path.is_file():
        return _from_folder(task_id, path, bool(preset is not None or config or fields))
    model = fresh(task_id, preset=preset, config=config, weights=named, fields=fields)
    if path is not None:
        record: Any = model.task
        model.task = dataclasses.replace(record, weights=str(path))
    if named is not None or path is not None:
        from mamba_core.pretrained import load_weights

        convert = resolve(named.converter) if named is not None and named.converter else None
        load_weights(model, path or _fetched(named), convert=convert)  # type: ignore[arg-type]
        model.eval()
    return model


def _named_weights(task_id: str, weights: str | Path | None) -> WeightsSpec | None:
    """The record of named weights, None for no weights and for a path; a name comes first."""
    if weights is None or isinstance(weights, Path):
        return None
    spec = find_task(task_id).spec
    names = {"default", *(known.name for known in spec.weights)}
    if weights not in names and Path(weights).exists():
        return None
    return tasks.find_weights(spec, weights)


def _fetched(weights: WeightsSpec) -> Path:
    """The file of named weights; a download shows how far it is on a terminal."""
    from mamba_core.cli.output import terminal_progress
    from mamba_registry.weights import resolve_weights

    with terminal_progress() as bar:

        def show(done: int, total: int | None) -> None:
            if bar is not None:
                bar(f"Fetching weights '{weights.name}'", done, total or weights.size or done)

        return resolve_weights(weights, show)


def _from_folder(task_id: str, path: Path, shaped: bool) -> nn.Module:
    from mamba_core.pretrained import from_pretrained, saved_spec

    if shaped:
        raise ConfigError(f"{path} brings its own config: leave preset, config and fields out")
    spec, held = find_task(task_id).spec, saved_spec(path)
    other_version = parse_id(task_id).version is not None and held.version != spec.version
    if held.id != spec.id or other_version:
        raise ConfigError(f"{path} holds a model of '{held.full_id}', not '{spec.full_id}'")
    return from_pretrained(path)


def predictor(
    task_id: str,
    *,
    weights: str | Path | None = "default",
    device: str | None = None,
    allow_untrained: bool = False,
    preset: str | None = None,
    **fields: Any,
) -> Any:
    """Return the task's ready-to-use object (for ``audio-sep`` a Separator).

    :param weights: as for :func:`build`; None with ``allow_untrained`` takes a fresh model.
    :param device: where to run; None takes a GPU when there is one.
    :param allow_untrained: needed for ``weights=None``, so that nobody hears noise by accident.
    :param preset: of the untrained model.
    :param fields: fields of the task's predict config.
    :raises WeightsError: when the model would be untrained and that was not asked for.
    """
    spec = find_task(task_id).spec
    if weights is None and not allow_untrained:
        raise WeightsError(
            f"weights=None gives an untrained '{spec.full_id}', whose output is noise: "
            "name weights or a folder, or pass allow_untrained=True"
        )
    from mamba_core.device import choose_device

    settings = tasks.role_config(spec, "predict_config", fields)
    make = tasks.load_ref(spec, "predictor")
    chosen = choose_device(device)
    model = build(task_id, preset=preset, weights=weights)
    return make(model.to(chosen).eval(), settings, spec=spec, device=chosen)


def example(
    task_id: str,
    *,
    preset: str = "tiny",
    batch_size: int = 2,
    seed: int = 0,
    device: str = "cpu",
    **fields: Any,
) -> dict[str, torch.Tensor]:
    """Return a small made-up batch of the right names, shapes and dtypes.

    :param seed: equal seeds give equal batches.
    """
    import torch

    from mamba_core.device import choose_device

    found = spec(task_id)
    place = choose_device(device)
    chosen = config(task_id, preset=preset, **fields)
    generator = torch.Generator().manual_seed(seed)
    make = tasks.load_ref(found, "example")
    return make(chosen, batch_size=batch_size, generator=generator, device=place)


def register(record: Any, *, replace: bool = False) -> None:
    """Add a record (TaskSpec, MixerSpec, ScanOrderSpec, ...) for this process.

    The same function or class again replaces quietly; another one under a name that is taken,
    here or by an installed plugin, needs ``replace=True``.
    Worker processes that are spawned do not see it: put lasting records into a plugin.
    """
    catalog.register(record, replace=replace)


def mixer_spec(name: str) -> MixerSpec:
    """Return a mixer's record; an unknown name raises MixerError with a suggestion."""
    return find_mixer(name)


def mixers() -> tuple[MixerSpec, ...]:
    """Return the records of all mixers, by name."""
    by_name = {offer.spec.name: offer.spec for offer in catalog.offers("mixers")}
    return tuple(spec for _, spec in sorted(by_name.items()))


def scan_order_spec(name: str, *, dims: int | None = None) -> ScanOrderSpec:
    """Return a scan order's record; an unknown name raises ScanOrderError with a suggestion."""
    return find_scan_order(name, dims=dims)


def scan_orders(dims: int | None = None) -> tuple[ScanOrderSpec, ...]:
    """Return the records of all scan orders, by name.

    :param dims: only those that work for this number of dimensions.
    """
    found = {(o.spec.name, o.spec.dims): o.spec for o in catalog.offers("scan_orders")}
    fitting = [s for s in found.values() if dims is None or s.dims in (None, dims)]
    return tuple(sorted(fitting, key=lambda s: (s.name, s.dims or 0)))


def register_scan_order(
    name: str,
    order: Callable[..., Any],
    *,
    dims: int | None,
    summary: str = "",
    causal: bool = False,
    continuity: Continuity = "jumps",
    cover: Cover = "all",
    replace: bool = False,
) -> None:
    """Register a scan order for this process.

    :param order: a ``ShapeOrder`` ``(shape, *, device="cpu") -> (K, L)``, or a ``DataOrder``.
        Further keyword arguments with defaults are its parameters: ``"name(3)"``.
    :param dims: dimensions of the grids it reads; None for any.
    :param causal: it never reads a later time step before an earlier one.
    :param continuity: the longest move of its paths.
    :param cover: what its paths read together.
    """
    record = ScanOrderSpec(
        name=name,
        dims=dims,
        order=order,
        summary=summary,
        causal=causal,
        continuity=continuity,
        cover=cover,
    )
    register(record, replace=replace)


def scan_order(
    name: str,
    *,
    dims: int | None,
    summary: str = "",
    causal: bool = False,
    continuity: Continuity = "jumps",
    cover: Cover = "all",
    replace: bool = False,
) -> Callable[[T], T]:
    """Decorate a function that makes an order; see :func:`register_scan_order`."""

    def decorate(order: T) -> T:
        register_scan_order(
            name,
            order,
            dims=dims,
            summary=summary,
            causal=causal,
            continuity=continuity,
            cover=cover,
            replace=replace,
        )
        return order

    return decorate


def mixer(
    name: str,
    *,
    summary: str = "",
    causal: bool = True,
    streams: bool = False,
    packed: bool = False,
    replace: bool = False,
) -> Callable[[T], T]:
    """Decorate a module class ``(d_model, **fields)`` that mixes ``(B, L, d_model)`` tokens.

    Its constructor's arguments become the fields that a config may set.

    :param causal: no output depends on a later token.
    :param streams: it has ``init_state``, ``prefill`` and ``step``.
    :param packed: its forward takes ``cu_seqlens``.
    :param replace: take a name that is taken, an installed plugin's or the core's too.
    """

    def decorate(build: T) -> T:
        record = MixerSpec(
            name=name, build=build, summary=summary, causal=causal, streams=streams, packed=packed
        )
        register(record, replace=replace)
        return build

    return decorate
