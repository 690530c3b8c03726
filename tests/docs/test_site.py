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
