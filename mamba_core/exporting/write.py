"""Trained models as files that other runtimes read: ``torch.export`` programs and ONNX.

The scans go into the file as ordinary operations (:mod:`mamba_kernels.plain`), so neither needs
this library where it is loaded. What was written is read back and compared with the model.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core.atomic import new_file, refuse_taken
from mamba_core.exporting.axes import axis_names, describe_axes, moved_sizes
from mamba_core.pretrained import saved_spec, target_folder
from mamba_kernels.plain import plain_ops
from mamba_registry.errors import DependencyMissingError, MambaRegistryError
from mamba_registry.specs import TaskSpec
from mamba_registry.tasks import load_ref

TOLERANCE = 1e-4
"""Largest difference from the model's own outputs, as a share of their largest value or of 1."""
_BATCH = 2
"""Items of the example: an axis of one would be taken for fixed."""
_SUFFIXES = (".pt2", ".onnx")
_EXTRA = ("onnx", "onnxscript", "onnxruntime")
"""What ``mamba-core[export]`` brings."""


class ExportError(MambaRegistryError):
    """Raised when a model cannot be written as a graph, or the graph says something else."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written, and how far it was tried."""

    path: Path
    task: str
    inputs: dict[str, list[int | str]]
    """Sizes of each input's axes; a name where any size goes."""
    outputs: tuple[str, ...]
    fixed: str
    """Why named axes have one size only; empty where none has."""
    left_out: tuple[str, ...]
    """Optional inputs of the model that the file does not have."""
    error: float | None
    """Largest difference from the model's outputs (see :data:`TOLERANCE`); None: not compared."""
    compared: tuple[dict[str, list[int]], ...]
    """Sizes of the inputs it was compared on."""


def export(
    target: str | Path,
    out: Path | str,
    *,
    weights: str = "default",
    preset: str | None = None,
    overwrite: bool = False,
) -> ExportResult:
    """Write a model as ``.pt2`` (``torch.export``) or ``.onnx``.

    On the CPU, in fp32. Axes of the inputs that the model takes in any size stay open.

    :param target: a task id for its weights, a saved model's folder, or a results folder.
    :param out: the file; its suffix is the format.
    :param weights: which of the task's weights, for a task id.
    :param preset: an untrained model of this preset instead, for a task id.
    :param overwrite: replace the file if it is there.
    :raises ExportError: for another suffix, a model whose graph cannot be drawn (the message names
        the line that cannot), and a file that computes something else.
    :raises DependencyMissingError: for ONNX without the extra ``[export]``.
    """
    path = Path(out)
    if path.suffix not in _SUFFIXES:
        raise ExportError(f"{path}: the name must end in {' or '.join(_SUFFIXES)}, which says what")
    refuse_taken([path], overwrite=overwrite)
    if path.suffix == ".onnx":
        _require(*_EXTRA[:2])
    model, spec = _load(target, weights, preset)
    return export_model(model, spec, path)


def export_model(model: nn.Module, spec: TaskSpec, path: Path) -> ExportResult:
    """Write a task's model; see :func:`export`.

    :param model: built by the registry, on the CPU.
    """
    if "cu_seqlens" in spec.inputs:
        raise ExportError(
            f"{spec.full_id} reads sequences packed into one row (cu_seqlens), and cuts them apart "
            "in Python: no graph can hold that. Serve it from Python"
        )
    model = model.eval().float()
    inputs, left_out = _example(model, spec)
    with torch.no_grad():
        outputs = model(**inputs)  # also fills the caches of scan orders, before tracing
    given = vars(model.task.config)  # type: ignore[union-attr]
    names = {
        name: axis_names(spec.inputs[name], value.dim(), given) for name, value in inputs.items()
    }
    program, others, fixed = _trace(model, inputs, names)
    with new_file(path) as temporary:
        run = _write(program, temporary, path.suffix, list(inputs), list(outputs))
        error, compared = None, []
        if run is not None:
            compared = [inputs, *([others] if others is not None else [])]
            error = max(_difference(model, run, each) for each in compared)
            if not error <= TOLERANCE:
                raise ExportError(
                    f"the {path.suffix} graph of {spec.full_id} differs from the model by "
                    f"{error:.2g} (allowed: {TOLERANCE:g}): nothing was written. Please report it"
                )
    return ExportResult(
        path=path,
        task=spec.full_id,
        inputs=describe_axes(program, names),
        outputs=tuple(outputs),
        fixed=fixed,
        left_out=left_out,
        error=error,
        compared=tuple({n: list(t.shape) for n, t in each.items()} for each in compared),
    )


def _load(target: str | Path, weights: str, preset: str | None) -> tuple[nn.Module, TaskSpec]:
    from mamba_core import from_pretrained, registry

    folder = target_folder(target, weights)
    if folder is not None:
        if preset is not None:
            raise ExportError(f"{target} is a saved model and has its own sizes: leave preset out")
        return from_pretrained(folder), saved_spec(folder)
    spec = registry.spec(str(target))
    if preset is not None:
        return registry.build(spec.full_id, preset=preset), spec
    return registry.build(spec.full_id, weights=weights), spec


def _example(model: Any, spec: TaskSpec) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Inputs of two items, and the names of the optional ones, which are left out."""
    generator = torch.Generator().manual_seed(0)
    drawn = load_ref(spec, "example")(
        model.task.config, batch_size=_BATCH, generator=generator, device="cpu"
    )
    parameters = inspect.signature(type(model).forward).parameters
    optional = tuple(n for n in spec.inputs if parameters[n].default is not inspect.Parameter.empty)
    needed = {name: drawn[name] for name in spec.inputs if name not in optional}
    return needed, optional


def _trace(
    model: nn.Module, inputs: dict[str, Tensor], names: Mapping[str, Sequence[str]]
) -> tuple[Any, dict[str, Tensor] | None, str]:
    """Draw the graph with as many open axes as the model allows.

    :returns: the program, inputs of other sizes that it was run on (None: no axis is open), and
        why axes that were hoped to be open are not.
    """
    axes = {axis for each in names.values() for axis in each if axis}
    fixed = ""
    for hoped in (axes, axes & {"batch"}, set()):
        try:
            program = _draw(model, inputs, names, hoped)
            others = moved_sizes(program, inputs, names)
            if others is not None:
                error = _difference(model, program.module(), others)
                if not error <= TOLERANCE:
                    raise ExportError(f"differs by {error:.2g} at other sizes")
            return program, others, fixed
        except Exception as error:
            fixed = _first_line(error)
            if not hoped:
                raise ExportError(
                    f"the graph of {type(model).__name__} cannot be drawn: {fixed}"
                ) from error
    raise AssertionError("the last try returns or raises")


def _draw(
    model: nn.Module,
    inputs: dict[str, Tensor],
    names: Mapping[str, Sequence[str]],
    hoped: set[str],
) -> Any:
    auto = torch.export.Dim.AUTO
    shapes = {
        name: {k: auto for k, axis in enumerate(names[name]) if axis in hoped} for name in inputs
    }
    torch.compiler.reset()  # loops traced before, for sizes that were known, would be taken again
    with plain_ops(), torch.no_grad(), _quiet():
        program = torch.export.export(model, (), inputs, dynamic_shapes=shapes)
    ours = [str(n.target) for n in program.graph.nodes if "mamba_kernels" in str(n.target)]
    if ours:
        raise ExportError(f"{ours[0]} is still in the graph")
    return program


Run = Callable[..., Mapping[str, Tensor]]


def _write(
    program: Any, path: Path, suffix: str, inputs: list[str], outputs: list[str]
) -> Run | None:
    """Write the graph and return what runs the file; None where that cannot be done here."""
    if suffix == ".pt2":
        facts = {"mamba_core.json": json.dumps({"inputs": inputs, "outputs": outputs})}
        with path.open("wb") as file, _quiet():
            torch.export.save(program, file, extra_files=facts)
        with path.open("rb") as saved:
            return torch.export.load(saved).module()
    with _quiet():
        try:
            written = torch.onnx.export(
                program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False
            )
        except torch.onnx.OnnxExporterError as error:
            cause = error.__cause__ or error
            raise ExportError(
                f"PyTorch cannot say this graph in ONNX ({_first_line(cause)}): write .pt2"
            ) from error
    assert written is not None
    written.save(path, external_data=False)
    try:
        import onnxruntime
    except ImportError:
        return None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes share no base of their own
        raise ExportError(
            f"ONNX Runtime does not take the graph ({_first_line(error)}): write .pt2"
        ) from error

    def run(**given: Tensor) -> dict[str, Tensor]:
        values = session.run(outputs, {name: value.numpy() for name, value in given.items()})
        return {name: torch.from_numpy(v) for name, v in zip(outputs, values, strict=True)}

    return run


def _difference(model: nn.Module, run: Run, inputs: dict[str, Tensor]) -> float:
    """Largest difference of any output, as a share of its largest value, or of 1."""
    with torch.no_grad():
        wanted, found = model(**inputs), run(**inputs)
    errors = []
    for name, want in wanted.items():
        have = found[name]
        if have.shape != want.shape:
            raise ExportError(
                f"{name} has shape {tuple(have.shape)} instead of {tuple(want.shape)}"
            )
        scale = max(float(want.abs().max()), 1.0)
        errors.append(float((have.double() - want.double()).abs().max()) / scale)
    return max(errors)


def _first_line(error: BaseException) -> str:
    """An error in a line, with the place that PyTorch found for it."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    place = [line for line in lines if line.startswith("File ")][-1:]
    return " ".join([f"{type(error).__name__}:", *lines[:1], *(f"({line})" for line in place)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's remarks on how it draws and stores graphs."""
    level, log = logging.getLogger("torch").level, logging.getLogger("torch")
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _require(*names: str) -> None:
    import importlib

    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise DependencyMissingError(
                f"ONNX needs {name} ({error}): "
                f"{sys.executable} -m pip install 'mamba-core[export]'; .pt2 needs nothing more"
            ) from error
