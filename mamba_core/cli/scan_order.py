"""``mamba-core scan-order list | show | check``: look at orders, and judge one of your own."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mamba_core.scan_orders import NamedOrder

_GRIDS = {
    1: ((1,), (7,), (16,)),
    2: ((1, 1), (1, 7), (7, 1), (4, 4), (5, 6), (13, 17)),
    3: ((1, 1, 1), (2, 3, 4), (3, 3, 3)),
}
"""What ``check`` tries, by dimensions; other numbers get a small cube."""


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the commands."""
    group = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        help="Show scan orders, and check one of your own.",
    )
    group.command("list")(list_orders)
    group.command("show")(show)
    group.command("check")(check)
    return group


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_orders(
    dims: Annotated[
        int | None, typer.Option(help="Only for grids of this many dimensions.")
    ] = None,
    json: Json = False,
) -> None:
    """List the registered orders."""
    from mamba_core import scan_orders

    rows = [
        {
            "name": spec.name,
            "dims": spec.dims,
            "continuity": spec.continuity,
            "cover": spec.cover,
            "causal": spec.causal,
            "summary": spec.summary,
        }
        for spec in scan_orders.list(dims=dims)
    ]
    if json:
        print_json(rows)
    else:
        shown = [[_text(value) for value in row.values()] for row in rows]
        print_table(("name", "dims", "continuity", "cover", "causal", "summary"), shown)


def show(
    names: Annotated[
        list[str],
        typer.Argument(metavar="ORDER...", help="Orders, e.g. hilbert or 'window(4)+reverse'."),
    ],
    grid: Annotated[str, typer.Option(help="Sizes of the grid, e.g. 16x16.")] = "16x16",
    save: Annotated[Path | None, typer.Option(help="Draw all paths into this picture.")] = None,
    json: Json = False,
) -> None:
    """Show orders: their paths through a grid, and how near neighbours stay."""
    shape = read_grid(grid)
    found = [(name, _shape_order(name, len(shape))) for name in names]
    tables = [(name, order, order(shape)) for name, order in found]
    facts = [
        _path_facts(name, k, path, shape, order)
        for name, order, table in tables
        for k, path in enumerate(table)
    ]
    if save is not None:
        _draw(tables, shape, save)
    if json:
        print_json(facts)
        return
    columns = ("order", "path", "unit steps", "mean jump", "neighbours apart", "continuity")
    print_table(columns, [_row(item) for item in facts])
    if len(facts) == 1 and len(shape) == 2 and max(shape) <= 16:
        print("\nWhen each token is read:")
        _print_ranks(facts[0]["order"], shape)
    if save is not None:
        print(f"Wrote {save}")


def check(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:ATTR", help="A function, e.g. my_module:my_order.")
    ],
    dims: Annotated[int, typer.Option(help="Dimensions of the grids it is for.")] = 2,
    grid: Annotated[
        list[str] | None, typer.Option(help="Try this grid (may be repeated); else several.")
    ] = None,
    causal: Annotated[bool, typer.Option("--causal", help="It must allow streaming.")] = False,
    json: Json = False,
) -> None:
    """Check a scan order of your own; leaves with 1 at the first thing that is wrong."""
    from mamba_core import scan_orders
    from mamba_core.registry import ScanOrderError

    function = _import(target)
    if hasattr(function, "inputs"):
        raise CommandError(
            f"{target} reads the data ({', '.join(function.inputs)}); only orders of "
            "the shape can be checked without data."
        )
    order = scan_orders.of_function(
        function, dims=dims, name=target.replace(":", "."), causal=causal
    )
    shapes = [read_grid(text) for text in grid] if grid else _GRIDS.get(dims, ((2,) * dims,))
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        try:
            table = order(shape)
            rows.append({"grid": list(shape), "paths": len(table), "problem": None})
        except ScanOrderError as error:
            rows.append({"grid": list(shape), "paths": None, "problem": str(error)})
            break
        except Exception as error:  # whatever a user's function raises is the finding
            problem = f"it raised {type(error).__name__}: {error}"
            rows.append({"grid": list(shape), "paths": None, "problem": problem})
            break
    good = rows[-1]["problem"] is None
    if json:
        print_json({"target": target, "ok": good, "grids": rows})
    else:
        _print_check(target, rows)
    if not good:
        raise typer.Exit(1)


def _print_check(target: str, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        size = "x".join(map(str, row["grid"]))
        if row["problem"] is None:
            print(f"{size}: ok, {row['paths']} path{'s' if row['paths'] != 1 else ''}")
        else:
            print(f"{size}: {row['problem']}")
    if rows[-1]["problem"] is None:
        print(f"{target} is a scan order: every path reads every token once, twice the same way.")


def read_grid(text: str) -> tuple[int, ...]:
    """Read ``16x16``.

    :raises CommandError: for anything else, and for a size below 1.
    """
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise CommandError(f"--grid {text!r}: sizes of at least 1 joined by x, such as 16x16.")
    return tuple(int(size) for size in sizes)


def _shape_order(name: str, dims: int) -> NamedOrder:
    from mamba_core import scan_orders

    order = scan_orders.get(name, dims=dims)
    if isinstance(order, scan_orders.LayeredOrder):
        raise CommandError(f"'{name}' differs from layer to layer: show its parts one by one.")
    if not isinstance(order, scan_orders.NamedOrder):
        raise CommandError(f"'{name}' depends on data ({', '.join(order.inputs)}), not on a grid.")
    return order


def _path_facts(
    name: str, k: int, path: Any, shape: tuple[int, ...], order: NamedOrder
) -> dict[str, Any]:
    from mamba_core import scan_orders

    measured = scan_orders.locality(path, shape)
    return {
        "name": name,
        "path": k,
        "grid": list(shape),
        "unit_steps": measured.unit_steps,
        "mean_jump": measured.mean_jump,
        "neighbour_distance": measured.neighbour_distance,
        "continuity": measured.continuity,
        "declared_continuity": order.continuity(shape),
        "order": path.tolist(),
    }


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        item["name"],
        str(item["path"]),
        f"{item['unit_steps']:.3f}",
        f"{item['mean_jump']:.2f}",
        f"{item['neighbour_distance']:.2f}",
        item["continuity"],
    )


def _print_ranks(order: list[int], shape: tuple[int, ...]) -> None:
    steps = {token: step for step, token in enumerate(order)}
    width = len(str(len(order) - 1))
    for i in range(shape[0]):
        row = (steps[i * shape[1] + j] for j in range(shape[1]))
        print(" ".join(str(step).rjust(width) for step in row))


def _draw(tables: list[Any], shape: tuple[int, ...], file: Path) -> None:
    from mamba_core.scan_orders.picture import draw

    if len(shape) > 3:
        raise CommandError("pictures show grids of up to three dimensions.")
    paths = []
    for name, _, table in tables:
        paths += [(f"{name} [{k}]" if len(table) > 1 else name, p) for k, p in enumerate(table)]
    draw(paths, shape, file)


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    if not attribute:
        raise CommandError(f"{target!r}: name a function as MODULE:ATTR, e.g. my_module:my_order.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # the user's own file, as `python my_module.py` would
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CommandError(f"cannot import {target}: {error}") from error


def _text(value: object) -> str:
    if value is None:
        return "any"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
