"""The site can be built, and shows docstrings as they are meant."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def docstrings():
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("See :func:`run` and :class:`~a.b.Case`.", "See `run` and `Case`."),
        (
            "A:\n\n>>> f(\n...     1)\n2\n\nEnd.",
            "A:\n\n```pycon\n>>> f(\n...     1)\n2\n```\n\nEnd.",
        ),
        (
            ":raises ValueError, TypeError: for shapes\n    and dtypes.\n:returns: x",
            ":raises ValueError: for shapes\n    and dtypes.\n"
            ":raises TypeError: for shapes\n    and dtypes.\n:returns: x",
        ),
        (":raises ValueError: for a, b: c.", ":raises ValueError: for a, b: c."),
        ("In tests::\n\n    x = y[::2]", "In tests:\n\n    x = y[::2]"),
    ],
)
def test_markdown_of_a_docstring(docstrings, text, shown):
    assert docstrings.markdown(text) == shown


@pytest.mark.slow
def test_site_builds_strictly(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hooks = (tmp_path / "site/reference/hooks/index.html").read_text("utf-8")
    assert "mamba_doctor_checks" in hooks
    assert ":class:" not in hooks


@pytest.fixture(scope="module")
def cost_plots():
    spec = importlib.util.spec_from_file_location("cost_plots", ROOT / "docs/cost_plots.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cost_plots"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_tables_of_costs_are_read_with_their_unit(cost_plots):
    costs = "| length, of x, MiB | 50 | 1,000 |\n|---|---|---|\n| `a` b | 1.5 | 1,512 |\n"
    text = f"{costs}\n| name | x |\n|---|---|\n"
    (match,) = cost_plots.TABLE.finditer(text)
    found = cost_plots.curves(match.group())
    assert (found.size, found.unit, found.sizes) == ("length, of x", "MiB", (50, 1000))
    assert found.rows == {"a b": (1.5, 1512)}


def test_every_page_of_costs_has_tables_to_draw(cost_plots):
    pytest.importorskip("matplotlib")
    for page in cost_plots.PAGES:
        drawn = list(cost_plots.pictures(page, (ROOT / "docs" / page).read_text("utf-8")))
        assert len(drawn) >= 3
        assert all(content.startswith(b"\x89PNG") for _, content in drawn)
