"""``mamba-core export TARGET --out FILE``: the same as ``mamba_core.export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mamba_core.cli.extra import single
from mamba_core.cli.output import print_json

if TYPE_CHECKING:
    from mamba_core.exporting import ExportResult


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A saved model's folder, or a task id for its weights."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file: name.pt2 (torch.export) or name.onnx.")
    ],
    weights: Annotated[str, typer.Option(help="Which of the task's weights.")] = "default",
    preset: Annotated[
        str | None, typer.Option(help="An untrained model of this preset instead.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model as a graph that runs without this library, and compare the two."""
    import mamba_core

    result = mamba_core.export(target, out, weights=weights, preset=preset, overwrite=overwrite)
    if json:
        print_json(result)
    else:
        _print(result)


def _print(result: ExportResult) -> None:
    for name, sizes in result.inputs.items():
        print(f"input   {name}: {', '.join(map(str, sizes))}")
    print(f"output  {', '.join(result.outputs)}")
    if result.left_out:
        print(f"left out, as they are optional: {', '.join(result.left_out)}")
    if result.fixed:
        print(f"other axes are fixed: {result.fixed}")
    if result.error is None:
        print("not compared with the model: onnxruntime is not installed")
    else:
        tried = "; ".join(str(each) for each in result.compared)
        print(f"differs from the model by {result.error:.1e} (compared on {tried})")
    print(f"Wrote {result.path}")
