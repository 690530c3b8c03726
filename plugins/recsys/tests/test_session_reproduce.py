"""The program behind the card's table of sessions, on made-up chains."""

from __future__ import annotations

import pytest

from mamba_recsys.session import reproduce
from mamba_recsys.synthetic import Synthetic


@pytest.mark.slow
def test_rows_of_models_and_what_counts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "FILE", "a.csv")
    monkeypatch.setitem(reproduce.TRAIN, "max_steps", 3)
    Synthetic(users=60, items=24, shortest=6, longest=10).events().to_csv(
        tmp_path / "a.csv", index=False
    )
    words = ["--root", str(tmp_path), "--out", str(tmp_path / "out"), "--presets", "gru4rec"]
    reproduce.main([*words, "--seeds", "0", "1"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == [*reproduce.COUNTING, "gru4rec"]
    assert "±" in lines[-1]
    assert lines[-1].endswith("| 2 |")
    # nothing is run again
    monkeypatch.setattr(reproduce, "run", None)
    reproduce.main([*words, "--seeds", "0", "1"])
