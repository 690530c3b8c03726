"""Models as folders: ``model.safetensors``, ``config.json``, ``README.md``.

``config.json`` names a task id, never a module or class, and only safetensors is read: a folder
is data, and loading it runs nothing but the installed plugin.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn

from mamba_core._version import __version__
from mamba_core.atomic import new_folder
from mamba_core.fresh import fresh
from mamba_registry.configs import make_config
from mamba_registry.errors import (
    ConfigError,
    TaskNotFoundError,
    TaskSpecError,
    WeightsError,
)
from mamba_registry.ids import parse_id
from mamba_registry.lookup import find_task, install_line
from mamba_registry.specs import TaskRecord, TaskSpec
from mamba_registry.tasks import load_ref

FORMAT = 1
"""Version of the folder's layout; a reader refuses newer ones."""

CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"

Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""Renames a foreign state dict."""

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class SavePretrained:
    """Mixin that gives a model ``save_pretrained`` as a method."""

    def save_pretrained(
        self, folder: Path | str, *, metrics: Mapping[str, float] | None = None
    ) -> Path:
        """See :func:`save_pretrained`."""
        assert isinstance(self, nn.Module)
        return save_pretrained(self, folder, metrics=metrics)


def save_pretrained(
    model: nn.Module, folder: Path | str, *, metrics: Mapping[str, float] | None = None
) -> Path:
    """Save a model made by ``registry.build`` as a folder that :func:`from_pretrained` reads.

    The folder appears whole or not at all. One that holds an earlier saved model, and nothing
    else, is replaced.

    :param metrics: measured values to keep beside the weights.
    :returns: the folder.
    :raises WeightsError: for a model without ``model.task``.
    :raises FileExistsError: for a folder that holds anything else, or a file of that name.
    :raises OSError: when it cannot be written; what was there before is untouched.
    """
    record = getattr(model, "task", None)
    if not isinstance(record, TaskRecord):
        raise WeightsError(
            f"{type(model).__name__} has no record of its task: build it with "
            "registry.build(task_id), or set model.task to its TaskRecord"
        )
    target = Path(folder)
    _refuse_foreign(target)
    described = describe(record, metrics or {})
    with new_folder(target) as temporary:
        try:
            save_model(model, str(temporary / WEIGHTS), metadata={"format": "pt"})
        except safetensors.SafetensorError as error:
            raise OSError(f"{target}: the weights cannot be written ({error})") from error
        (temporary / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        (temporary / README).write_text(_readme(described), encoding="utf-8")
    return target


def describe(record: TaskRecord, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return what ``config.json`` says about a model.

    :param record: where the model came from.
    :param metrics: plain numbers.
    """
    from pydantic import TypeAdapter

    config = TypeAdapter(type(record.config)).dump_python(record.config, mode="json")
    return {
        "format": FORMAT,
        "task": record.full_id,
        "plugin": {
            "name": record.plugin,
            "distribution": record.distribution,
            "version": record.plugin_version,
        },
        "mamba_core": __version__,
        "config": config,
        "weights": WEIGHTS,
        "metrics": {name: float(value) for name, value in metrics.items()},
        "scan_orders": sorted(set(_scan_orders(config))),
    }


def _scan_orders(config: Any) -> Iterator[str]:
    """Every scan order a config names, at any depth."""
    for name, value in config.items() if isinstance(config, dict) else ():
        if name == "scan_order" and isinstance(value, str):
            yield value
        else:
            yield from _scan_orders(value)


def _readme(described: Mapping[str, Any]) -> str:
    rows = "".join(f"- {name}: {value:.6g}\n" for name, value in described["metrics"].items())
    return (
        f"# {described['task']}\n\nSaved by mamba-core {__version__}. To load:\n\n"
        "```python\nimport mamba_core\n\nmodel = mamba_core.from_pretrained('.')\n```\n"
        + (f"\nMeasured:\n\n{rows}" if rows else "")
    )


def _refuse_foreign(target: Path) -> None:
    if not target.exists():
        return
    names = {path.name for path in target.iterdir()} if target.is_dir() else {target.name}
    if target.is_dir() and (not names or (CONFIG in names and _is_ours(target))):
        others = sorted(names - {CONFIG, WEIGHTS, README})
        if not others:
            return
        what = f"it also holds {', '.join(others[:3])}"
    else:
        what = "it is not a saved model"
    raise FileExistsError(f"{target} would be replaced, but {what}: choose another folder")


def _is_ours(folder: Path) -> bool:
    try:
        read_config(folder)
    except WeightsError:
        return False
    return True


def from_pretrained(
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    strict: bool = True,
) -> nn.Module:
    """Load a model that :func:`save_pretrained` or a training wrote, in eval mode.

    :param folder: the saved model, or a training's results folder (its best model is taken).
    :param dtype: of floating-point parameters; None keeps what the file has.
    :param strict: False warns about missing and unexpected tensors instead of raising.
    :returns: the model, with ``model.task``.
    :raises WeightsError: for a folder or file that is no saved model, is damaged or too new, or
        whose task has another version here.
    :raises TaskNotFoundError: when its plugin is missing, with the distribution it came from.
    :raises ConfigError: for config fields that the installed plugin does not have.
    """
    from mamba_core.device import choose_device

    device = choose_device(str(device))
    path = model_folder(folder)
    described = read_config(path)
    spec = _task(described, path)
    try:
        config = make_config(load_ref(spec, "config"), described["config"])
    except ConfigError as error:
        raise ConfigError(f"{path / CONFIG}: {error}") from error
    model = fresh(spec.full_id, config=config)
    load_weights(model, path / described["weights"], keep_dtype=dtype is None, strict=strict)
    record: Any = model.task
    model.task = dataclasses.replace(record, weights=str(path))
    return model.to(device=device, dtype=dtype).eval()


def saved_spec(folder: Path | str) -> TaskSpec:
    """Return the record of the task whose model a folder holds.

    :param folder: as for :func:`from_pretrained`, which raises the same for it.
    """
    path = model_folder(folder)
    return _task(read_config(path), path)


def names_folder(target: Path | str) -> bool:
    """Say whether a target, a task id or a folder, is a folder.

    A folder that happens to be called like a task, and holds no model, is the task.
    """
    path = Path(target)
    if not path.is_dir():
        return False
    bare = isinstance(target, str) and not set(target) & set("/\\.~")
    return not bare or (path / CONFIG).exists() or (path / "best").is_dir()


def target_folder(target: Path | str, weights: Path | str) -> Path | None:
    """Return the folder of the model that a target names; None for a task id.

    :param weights: which were asked for beside it; a folder brings its own.
    :raises WeightsError: for others than ``"default"`` beside a folder.
    """
    if not names_folder(target):
        return None
    if weights != "default":
        raise WeightsError(
            f"weights = {str(weights)!r}, but {target} is a saved model and brings its own: leave "
            "weights out, or give a task id in place of the folder"
        )
    return model_folder(target)


def model_folder(folder: Path | str) -> Path:
    """Return the folder of the model itself: ``folder``, or ``best`` in a results folder."""
    path = Path(folder)
    best = path / "best"
    return best if best.is_dir() and not (path / WEIGHTS).exists() else path


def read_config(folder: Path) -> dict[str, Any]:
    """Read and check a folder's ``config.json``.

    :raises WeightsError: when it is missing, no JSON, incomplete, newer than this mamba-core, or
        names a file outside the folder.
    """
    path = folder / CONFIG
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise WeightsError(
            f"{folder} is no saved model: it holds no {CONFIG}; give the folder that "
            "save_pretrained or `mamba-core train` wrote"
        ) from None
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON: {error}") from error
    if isinstance(described, dict) and "train" in described and "format" not in described:
        raise WeightsError(
            f"{folder} holds a training without a model yet: train on until its first validation"
        )
    if not isinstance(described, dict) or type(described.get("format")) is not int:
        raise WeightsError(f"{path} has no format number: it was not written by mamba-core")
    if described["format"] > FORMAT:
        raise WeightsError(
            f"{path} has format {described['format']}, this mamba-core {__version__} reads up to "
            f"{FORMAT}: {install_line('--upgrade mamba-core')}"
        )
    for name, kind in (("task", str), ("config", dict), ("weights", str)):
        if not isinstance(described.get(name), kind):
            raise WeightsError(f"{path}: '{name}' is missing or no {kind.__name__}")
    weights = described["weights"]
    if weights in ("", ".", "..") or set(weights) & set("/\\\0:"):
        raise WeightsError(
            f"{path}: weights = {weights!r} must be the plain name of a file in the folder"
        )
    return described


def _task(described: Mapping[str, Any], path: Path) -> TaskSpec:
    """The installed task of exactly the saved version."""
    saved = described["task"]
    plugin = described.get("plugin")
    plugin = plugin if isinstance(plugin, dict) else {}
    name, version = plugin.get("distribution"), plugin.get("version")
    line = install_line(f"'{name}=={version}'") if name and version else None
    try:
        return find_task(saved).spec
    except TaskSpecError as error:
        raise WeightsError(f"{path / CONFIG}: {error}") from error
    except TaskNotFoundError as error:
        bare = parse_id(saved).bare
        try:
            here = find_task(bare).spec
        except TaskNotFoundError:
            origin = f"{name} {version}" if name else f"the plugin '{plugin.get('name')}'"
            way = f": {line}" if line else "; register its task first"
            message = f"{path} was saved with {origin}, which is not here{way}\n{error}"
            raise TaskNotFoundError(message) from error
        raise WeightsError(
            f"{path} holds a model of '{saved}', but '{here.full_id}' is installed and no "
            f"converter is known: {line or 'install the version it was saved with'}"
        ) from error


def load_weights(
    model: nn.Module,
    path: Path | str,
    *,
    convert: Convert | None = None,
    strict: bool = True,
    keep_dtype: bool = False,
) -> None:
    """Load a weights file into a model, in place.

    :param path: a safetensors file. A foreign pickle (``.pth`` and the like) is read only with
        a ``convert``, by ``torch.load(weights_only=True)``, which runs no code of the file.
    :param convert: renames a foreign state dict to the model's names.
    :param strict: False warns about missing and unexpected tensors instead of raising.
    :param keep_dtype: give the model's tensors the file's dtypes first.
    :raises WeightsError: for a missing, damaged or foreign file, and for tensors that do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} does not exist")
    pickled = path.suffix in _PICKLES
    if pickled and convert is None:
        raise WeightsError(
            f"{path}: only safetensors files are loaded; a foreign checkpoint needs a converter "
            "in the task's WeightsSpec"
        )
    try:
        if convert is not None:
            state = torch.load(path, weights_only=True) if pickled else load_file(path)
            missing, unexpected = model.load_state_dict(convert(state), strict=False)
        else:
            if keep_dtype:
                _take_dtypes(model, path)
            missing, unexpected = load_model(model, path, strict=False)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged, or holds more than tensors and plain values, which is not read "
            f"because it could run code ({str(error).splitlines()[0]}). If you trust its "
            "publisher, save its tensors alone, once: load it by torch.load(weights_only=False), "
            "and give torch.save the part that holds them"
        ) from error
    except safetensors.SafetensorError as error:
        raise WeightsError(
            f"{path} is damaged or no safetensors file ({error}): fetch or save it again"
        ) from error
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        wrong = [line for line in lines if "size mismatch" in line] or lines
        more = f"; {len(wrong) - 2} more" if len(wrong) > 2 else ""
        raise WeightsError(
            f"{path} does not fit {type(model).__name__}: {'; '.join(wrong[:2])}{more}. "
            "The config and the file are not of one model."
        ) from error
    _report(path, sorted(missing), sorted(unexpected), strict)


def _take_dtypes(model: nn.Module, path: Path) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        kinds = {name: _DTYPES.get(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        kind = kinds.get(name)
        if kind is not None and tensor.is_floating_point():
            tensor.data = tensor.data.to(kind)


def _report(path: Path, missing: list[str], unexpected: list[str], strict: bool) -> None:
    parts = [
        f"{len(names)} {what} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
        for names, what in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if not parts:
        return
    text = f"{path} does not hold this model's tensors: {'; '.join(parts)}"
    if strict:
        raise WeightsError(f"{text}. The config and the file are not of one model.")
    warnings.warn(text, stacklevel=3)
