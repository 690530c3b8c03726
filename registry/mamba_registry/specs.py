"""The records a plugin returns: plain frozen data, heavy parts named by refs.

Nothing here imports torch, and a record never imports what it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

from mamba_registry.errors import TaskSpecError
from mamba_registry.ids import parse_id
from mamba_registry.refs import Ref, check_ref

Continuity = Literal["unit", "king", "jumps"]
"""Largest move of a path: to a 4-neighbour, to an 8-neighbour, anywhere."""
Cover = Literal["all", "partition", "padded"]
"""What the paths of an order read: ``all``, every path each token once; ``partition``, all paths
together each token once, shorter ones ending with -1; ``padded``, every path each token once, and
empty slots (-1) between them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")
_PREFIXES = ("https://", "http://", "file://")


def _check_name(name: Any, what: str) -> None:
    """Refuse names that a command line or a composed name (``a+b:c``) could not hold."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TaskSpecError(f"{what} {name!r}: a name has letters, digits and '-', '_', '.', '/'")


def _check_resource(text: Any, where: str) -> None:
    package, colon, inner = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not colon or not inner or not all(part.isidentifier() for part in package.split(".")):
        raise TaskSpecError(f"{where} = {text!r}: expected 'package:path'")


def _remake(cls: type, values: dict[str, Any]) -> Any:
    return cls(**values)


def _reduced(record: Any) -> tuple[Any, ...]:
    """How a record is pickled: a frozen mapping cannot be."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    plain = {k: dict(v) if isinstance(v, MappingProxyType) else v for k, v in values.items()}
    return _remake, (type(record), plain)


def record_name(record: Any) -> str:
    """Return what tells a record from others of its kind: a full id, or a name."""
    if isinstance(record, TaskSpec):
        return record.full_id
    if isinstance(record, ScanOrderSpec) and record.dims is not None:
        return f"{record.name} ({record.dims}-d)"
    name: str = record.name
    return name


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsSpec:
    """Trained weights of a task: one safetensors file, and where it comes from."""

    name: str
    preset: str
    """The preset whose shapes they have; asking for these weights asks for this preset."""
    resource: str | None = None
    """``"package:path"`` of a file inside an installed package, or"""
    url: str | None = None
    """an address to download once into the cache."""
    sha256: str | None
    """Of the file, in hex. None for an address whose publisher gives no hash: that of the first
    download is then printed, and held from there on."""
    size: int | None = None
    """Bytes, for the progress bar."""
    licence: str
    """Of the weights and of the data they were trained on."""
    converter: Ref | None = None
    """``(state dict) -> state dict`` for files with foreign names."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Measured on the task's own test set."""

    def __post_init__(self) -> None:
        if (self.resource is None) == (self.url is None):
            raise TaskSpecError(f"weights '{self.name}': give exactly one of resource and url")
        if self.resource is not None:
            _check_resource(self.resource, f"weights '{self.name}': resource")
        if self.url is not None and not self.url.startswith(_PREFIXES):
            raise TaskSpecError(
                f"weights '{self.name}': url = {self.url!r} must begin with one of "
                f"{', '.join(_PREFIXES)}"
            )
        if self.converter is not None:
            check_ref(self.converter, f"weights '{self.name}': converter")
        if self.sha256 is None:
            if self.url is None:
                raise TaskSpecError(f"weights '{self.name}': a resource needs its sha256")
        elif len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise TaskSpecError(
                f"weights '{self.name}': sha256 = {self.sha256!r} is not 64 hex digits"
            )
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    __reduce__ = _reduced


_OPTIONAL_REFS = (
    "data",
    "data_config",
    "loss",
    "metrics",
    "predictor",
    "predict_config",
    "train_config",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """One task: what a model of it is built from, trained on and judged by."""

    id: str
    """``domain-task`` for official plugins, ``namespace/domain-task`` for all others."""
    version: int = 1
    """Raised when configs or state dicts stop being compatible."""
    domain: str
    summary: str
    """One line."""
    config: Ref
    """A frozen pydantic dataclass: everything the model is built from."""
    builder: Ref
    """``(config) -> torch.nn.Module``."""
    example: Ref
    """``(config, *, batch_size, generator, device) -> dict[str, Tensor]``."""
    data: Ref | None = None
    """``(data_config, model_config) -> TaskData``."""
    data_config: Ref | None = None
    loss: Ref | None = None
    """``(outputs, batch) -> scalar Tensor``."""
    metrics: Ref | None = None
    """``() -> dict[str, torchmetrics.Metric]``."""
    metric_names: tuple[str, ...] = ()
    """The first is the score a model is selected by."""
    predictor: Ref | None = None
    """``(model, predict_config, *, spec, device) -> predictor``."""
    predict_config: Ref | None = None
    train_config: Ref | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name -> text such as ``"float[batch, samples]"``; the model is called with these."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    presets: tuple[str, ...] = ("tiny",)
    """Must contain ``tiny``: under 2 M parameters, under 5 s on a CPU."""
    preset_fields: str | Mapping[str, Mapping[str, Any]]
    """``"module:PRESETS"``, a dict from preset name to config fields; or that dict itself."""
    default_preset: str = "tiny"
    scan_orders: tuple[str, ...] = ()
    """Orders the task was tried with, the default first; empty when it has none."""
    weights: tuple[WeightsSpec, ...] = ()
    default_weights: str | None = None
    """Name of the weights that ``pretrained=True`` loads; None takes the first."""
    requires: tuple[str, ...] = ()
    """Import names needed to build."""
    requires_data: tuple[str, ...] = ()
    """Import names needed for the data only."""
    card: str | None = None
    """``"package:path"`` of the task's card."""
    aliases: tuple[str, ...] = ()
    deprecated: str | None = None
    """What to use instead."""
    causal: bool = False
    """True when the default model can stream."""

    def __post_init__(self) -> None:
        if parse_id(self.id).version is not None:
            raise TaskSpecError(f"task id '{self.id}': the version is a field of its own")
        for alias in self.aliases:
            parse_id(alias)
        if self.version < 1:
            raise TaskSpecError(f"task '{self.id}': version = {self.version} must be at least 1")
        for name in ("presets", "metric_names", "scan_orders", "weights", "requires", "aliases"):
            if isinstance(getattr(self, name), str):
                raise TaskSpecError(
                    f"task '{self.id}': {name} = {getattr(self, name)!r} must be a tuple"
                )
        self._check_presets()
        for name in ("config", "builder", "example"):
            check_ref(getattr(self, name), f"task '{self.id}': {name}")
        for name in _OPTIONAL_REFS:
            if getattr(self, name) is not None:
                check_ref(getattr(self, name), f"task '{self.id}': {name}")
        if self.card is not None:
            _check_resource(self.card, f"task '{self.id}': card")
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))

    __reduce__ = _reduced

    def _check_presets(self) -> None:
        if isinstance(self.preset_fields, Mapping):
            missing = [name for name in self.presets if name not in self.preset_fields]
            if missing:
                raise TaskSpecError(f"task '{self.id}': preset_fields lacks {', '.join(missing)}")
        else:
            check_ref(self.preset_fields, f"task '{self.id}': preset_fields")
        if "tiny" not in self.presets:
            raise TaskSpecError(f"task '{self.id}': presets {self.presets} must contain 'tiny'")
        if self.default_preset not in self.presets:
            raise TaskSpecError(
                f"task '{self.id}': default_preset '{self.default_preset}' is not in {self.presets}"
            )
        for weights in self.weights:
            if weights.preset not in self.presets:
                raise TaskSpecError(
                    f"task '{self.id}': weights '{weights.name}' are for the preset "
                    f"'{weights.preset}', which is not in {self.presets}"
                )
        names = [weights.name for weights in self.weights]
        if self.default_weights is not None and self.default_weights not in names:
            raise TaskSpecError(
                f"task '{self.id}': default_weights '{self.default_weights}' is not in {names}"
            )

    @property
    def full_id(self) -> str:
        """The id with its version; saved models store this."""
        return f"{self.id}@{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MixerSpec:
    """A sequence operator by name."""

    name: str
    build: Ref
    """``(d_model, **fields) -> torch.nn.Module``; its signature is the list of fields."""
    summary: str = ""
    causal: bool = True
    """No output depends on a later token."""
    streams: bool = False
    """Has ``init_state``, ``prefill`` and ``step``."""
    packed: bool = False
    """Takes ``cu_seqlens``."""

    def __post_init__(self) -> None:
        _check_name(self.name, "mixer")
        check_ref(self.build, f"mixer '{self.name}': build")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanOrderSpec:
    """A token order by name."""

    name: str
    dims: int | None
    """Dimensions of the grid it reads; None for any."""
    order: Ref
    """A ``ShapeOrder`` ``(shape, *, device) -> (K, L)``, or a ``DataOrder``."""
    summary: str = ""
    causal: bool = False
    """Reads tokens in the order they arrive, so that a model may stream."""
    continuity: Continuity = "jumps"
    cover: Cover = "all"
    """What the paths read; tables of the other two kinds have -1 where there is no token."""

    def __post_init__(self) -> None:
        _check_name(self.name, "scan order")
        if self.dims is not None and self.dims < 1:
            raise TaskSpecError(f"scan order '{self.name}': dims = {self.dims} must be at least 1")
        check_ref(self.order, f"scan order '{self.name}': order")


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelBackendSpec:
    """A further implementation of the ops; asked before the built-in ones."""

    name: str
    load: Ref
    """``() -> mamba_kernels backend`` (``name``, ``supports``, ``load``)."""
    summary: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name, "kernel backend")
        check_ref(self.load, f"kernel backend '{self.name}': load")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandSpec:
    """A further ``mamba-core NAME`` command."""

    name: str
    run: Ref
    """A ``typer.Typer`` app."""
    help: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name, "command")
        check_ref(self.run, f"command '{self.name}': run")


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorCheck:
    """A self-test that ``mamba-core doctor`` shows."""

    name: str
    run: Ref
    """``() -> str | None``: a problem with the way out, or None."""
    summary: str = ""

    def __post_init__(self) -> None:
        check_ref(self.run, f"doctor check '{self.name}': run")


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginInfo:
    """What became of one plugin; failure is data."""

    name: str
    module: str
    distribution: str | None
    version: str | None
    status: Literal["ok", "failed", "blocked", "incompatible"]
    error: str | None = None
    """One line."""
    traceback: str | None = None
    seconds: float = 0.0
    tasks: tuple[str, ...] = ()
    api: str | None = None
    """The plugin API it was written for, ``major.minor``; None where it could not be asked."""

    @property
    def origin(self) -> str:
        """Distribution and version, or the module for a plugin that was not installed."""
        return f"{self.distribution} {self.version}" if self.distribution else self.module


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """Where a built model came from; ``model.task``."""

    id: str
    version: int
    plugin: str
    distribution: str | None
    plugin_version: str | None
    config: Any
    preset: str | None = None
    weights: str | None = None
    """Name of the trained weights it holds, None for fresh ones."""

    @property
    def full_id(self) -> str:
        """The id with its version."""
        return f"{self.id}@{self.version}"
