"""``mamba-core new-plugin NAME``: a plugin whose own tests pass as it is written."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from mamba_core import __version__
from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RENAMED = {"gitignore": ".gitignore"}


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    name: Annotated[str, typer.Argument(help="The distribution's name, for instance acme-birds.")],
    task: Annotated[str, typer.Option(help="Its task, for instance acme/audio-birds.")],
    out: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path("."),
) -> None:
    """Write a new plugin with one task, a card and tests."""
    folder = write_plugin(name, task, out)
    print(
        f"Wrote {folder}. Next:\n"
        f"  cd {folder}\n"
        f'  pip install -e ".[dev]"\n'
        f"  pytest\n"
        f"  mamba-core info {task}"
    )


def write_plugin(name: str, task: str, out: Path) -> Path:
    """Write the plugin's folder, whole or not at all, and return it.

    :param name: the distribution, lower case with hyphens.
    :param task: ``namespace/domain-task``; bare ids belong to the official plugins.
    :raises CommandError: for a bad name, a bad task id, or a folder that exists.
    """
    values = _values(name, task)
    folder = out / name
    if folder.exists():
        raise CommandError(f"{folder} exists: choose another name or another --out.")
    out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=out))
    try:
        with as_file(files("mamba_core.cli").joinpath("templates")) as templates:
            for source, target in _targets(templates, values):
                path = scratch / target
                path.parent.mkdir(parents=True, exist_ok=True)
                text = Template(source.read_text(encoding="utf-8")).substitute(values)
                path.write_text(text, encoding="utf-8")
        scratch.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder


def _values(name: str, task: str) -> dict[str, str]:
    from mamba_registry.errors import TaskSpecError
    from mamba_registry.ids import parse_id

    if not _NAME.fullmatch(name):
        raise CommandError(
            f"'{name}' is no name for a distribution: lower-case words joined by hyphens, "
            "for instance acme-birds."
        )
    try:
        parsed = parse_id(task)
    except TaskSpecError as error:
        raise CommandError(f"--task: {error}") from None
    if parsed.version is not None:
        raise CommandError(f"--task {task}: leave the version out, a new task starts with 1.")
    if parsed.namespace is None:
        raise CommandError(
            f"--task {task}: ids without a namespace belong to the official plugins; "
            f"use '{name.split('-')[0]}/{task}'."
        )
    return {
        "distribution": name,
        "package": name.replace("-", "_"),
        "task": parsed.bare,
        "task_name": parsed.name,
        "domain": parsed.name.split("-")[0],
        "core_version": ".".join(__version__.split(".")[:2]),
        "year": str(date.today().year),
    }


def _targets(templates: Path, values: dict[str, str]) -> Iterator[tuple[Path, Path]]:
    """Each template, and the path of what it becomes."""
    for source in sorted(templates.rglob("*.tmpl")):
        parts = list(source.relative_to(templates).with_suffix("").parts)
        parts = [values["package"] if part == "PACKAGE" else part for part in parts]
        parts[-1] = parts[-1].replace("TASK", values["task_name"])
        parts[-1] = _RENAMED.get(parts[-1], parts[-1])
        yield source, Path(*parts)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
