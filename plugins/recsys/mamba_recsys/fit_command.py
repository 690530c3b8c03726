"""``mamba-core fit TASK TABLE``: a recommender from tables, with columns of items and events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mamba_core.cli.output import terminal_progress

_Fields = Annotated[str, typer.Option(metavar="JSON")]


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="rec-next or rec-session.")],
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Events: .csv, .parquet, .inter, ...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write, for `serve`.")],
    preset: Annotated[str | None, typer.Option(help="A preset of the task.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="Table with a row per item, for --item-features.")
    ] = None,
    item_features: Annotated[
        str, typer.Option(help="Its columns that the model reads, a,b,c.")
    ] = "",
    event_features: Annotated[
        str, typer.Option(help="Columns of TABLE that the model reads, a,b,c.")
    ] = "",
    hold_out: Annotated[
        str | None,
        typer.Option(help="leave-one-out, temporal, sessions, or none to train on all."),
    ] = None,
    gap: Annotated[
        float | None, typer.Option(help="rec-session: a longer pause begins a new session, s.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Column with the user or session; user_id, session_id.")
    ] = None,
    item: Annotated[str, typer.Option(help="Column with the item.")] = "item_id",
    time: Annotated[str, typer.Option(help="Column with the time.")] = "timestamp",
    duplicates: Annotated[
        str | None, typer.Option(help="Rows that are there twice: error, keep or drop.")
    ] = None,
    model: _Fields = "{}",
    data: _Fields = "{}",
    train: _Fields = "{}",
    json_out: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fit a recommender on tables, report it on what was held out, and save it.

    --model, --data and --train are fields as `mamba-core info TASK` lists them, for example
    --train '{"max_epochs": 60, "lr": 0.002}'. Text is categorical, numbers are standardised,
    lists ("[0.1, 0.2]" in a .csv) are embeddings.
    """
    from mamba_core.registry import ConfigError
    from mamba_recsys.kinds import recommender_of

    kind = recommender_of(task)
    options: dict[str, Any] = {
        "item_features": _words(item_features),
        "event_features": _words(event_features),
        "fields": _fields("--model", model),
        "data": _fields("--data", data),
        "train": _fields("--train", train),
    }
    if hold_out is not None:
        options["hold_out"] = None if hold_out == "none" else hold_out
    given = {"gap": gap, "model": preset, "duplicates": duplicates}
    options |= {name: value for name, value in given.items() if value is not None}
    if gap is not None and task != "rec-session":
        raise ConfigError(f"--gap {gap:g} cuts sessions: it is for rec-session, not {task}")
    options["columns"] = kind.named(user, item, time)
    rec = kind(**options)
    with terminal_progress() as progress:
        rec.fit(table, items, progress=progress)
        report = None if rec.hold_out is None else rec.evaluate(progress=progress)
    rec.save(out)
    if json_out:
        rows = [] if report is None else report.table.to_dict("records")
        print(json.dumps({"folder": str(out), "report": rows}))
    else:
        print(f"{report}\n" if report is not None else "nothing was held out, nothing is reported")
        print(f"serve it: mamba-core serve {task} {out}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _fields(flag: str, text: str) -> dict[str, Any]:
    from mamba_core.registry import ConfigError

    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{flag} {text!r} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{flag} {text!r} must be an object, like '{{\"a\": 1}}'")
    return found
