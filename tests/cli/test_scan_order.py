"""``mamba-core scan-order``: list, show with picture, check of a user's own order."""

from __future__ import annotations

import json

import pytest

from mamba_core.cli import main

OWN = """
import torch

def backwards(shape, *, device="cpu"):
    return torch.arange(shape[0] * shape[1], device=device).flip(0)[None]

def twice(shape, *, device="cpu"):
    return torch.zeros(1, shape[0] * shape[1], dtype=torch.int64)

def drawn(shape, *, device="cpu"):
    return torch.randperm(shape[0] * shape[1])[None]

def broken(shape, *, device="cpu"):
    raise KeyError("no such thing")
"""


def run(words):
    """Return the exit code of one command in this process."""
    with pytest.raises(SystemExit) as leaving:
        main(words)
    return leaving.value.code or 0


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_orders_for_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_orders_for_test:"


def test_list(capsys):
    assert run(["scan-order", "list", "--dims", "2", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["hilbert"]["continuity"] == "king"
    assert rows["atrous"]["cover"] == "partition"
    assert "hilbert3d" not in rows
    assert run(["scan-order", "list"]) == 0
    assert "hilbert3d" in capsys.readouterr().out


def test_show_as_text_and_json(capsys):
    assert run(["scan-order", "show", "serpentine", "--grid", "2x3"]) == 0
    out = capsys.readouterr().out
    assert "1.000" in out
    assert "0 1 2\n5 4 3" in out
    assert run(["scan-order", "show", "cross", "hilbert:T", "--grid", "3x4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [item["path"] for item in facts] == [0, 1, 2, 3, 0]
    assert facts[0]["order"] == list(range(12))
    assert facts[0]["unit_steps"] == pytest.approx(9 / 11)
    assert facts[4]["declared_continuity"] == "unit"


@pytest.mark.parametrize(
    ("names", "grid"),
    [(["hilbert", "cross", "atrous"], "5x4"), (["hilbert3d", "snake3d"], "2x3x3"),
     (["shuffle", "partial-flip(2)"], "7"), (["raster:tokens(middle)"], "1x1")],
)  # fmt: skip
def test_show_draws_pictures(names, grid, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = tmp_path / "orders.png"
    assert run(["scan-order", "show", *names, "--grid", grid, "--save", str(file)]) == 0
    assert file.read_bytes()[:4] == b"\x89PNG"
    assert f"Wrote {file}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "hilbrt"], "Did you mean 'hilbert'"),
        (["show", "hilbert:revers"], "character 8"),
        (["show", "hilbert", "--grid", "3x"], "joined by x"),
        (["show", "hilbert", "--grid", "0x3"], "joined by x"),
        (["show", "raster|reverse"], "differs from layer to layer"),
        (["show", "sorted"], "depends on data (class_id)"),
        (["check", "nothing"], "MODULE:ATTR"),
        (["check", "no_such_module_here:x"], "cannot import"),
        (["check", "mamba_core.scan_orders.content:Sorted"], "reads the data (class_id)"),
    ],
)
def test_errors(arguments, message, capsys):
    assert run(["scan-order", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_check_accepts_an_order(own, capsys):
    assert run(["scan-order", "check", own + "backwards"]) == 0
    assert "is a scan order" in capsys.readouterr().out
    assert run(["scan-order", "check", own + "backwards", "--grid", "3x9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["grids"] == [{"grid": [3, 9], "paths": 1, "problem": None}]


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("twice", [], "[0][1] = 0: this token was already read"),
        ("drawn", [], "not deterministic"),
        ("broken", [], "raised KeyError"),
        ("backwards", ["--causal"], "not causal"),
        ("backwards", ["--dims", "1"], "raised IndexError"),
    ],
)
def test_check_refuses_what_is_none(own, name, more, message, capsys):
    assert run(["scan-order", "check", own + name, *more]) == 1
    assert message in capsys.readouterr().out
