"""The notebook, cell by cell, as a reader runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[3] / "examples" / "recommend_next_items.ipynb"


@pytest.mark.slow
@pytest.mark.skipif(not NOTEBOOK.exists(), reason="the examples are part of the checkout only")
def test_the_notebook_runs():
    pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    names: dict = {}
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are not committed"
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    table = names["report"].table.set_index(["model", "filter_seen"])
    assert table.loc[("tiny", True), "ndcg@10"] > table.loc[("popularity", True), "ndcg@10"]
    assert names["first"] == {"accepted": 1, "duplicates": 0, "late": 0}
    assert names["again"]["duplicates"] == 1
    assert len(names["answer"]["items"]) == 3
