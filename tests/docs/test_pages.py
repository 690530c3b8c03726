"""The pages are true: examples run, tables name what is there."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mamba_core.cli.new_plugin import write_plugin
from mamba_registry import catalog

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def text_of(name):
    return (DOCS / name).read_text(encoding="utf-8")


def with_fence(kind):
    """Paths of the pages that hold such a block, from docs/."""
    return [str(p.relative_to(DOCS)) for p in PAGES if f"```{kind}\n" in p.read_text("utf-8")]


def blocks(name, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", text_of(name), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", with_fence("pycon"))
def test_sessions(page, tmp_path, monkeypatch):
    """What the page shows after >>> is what Python prints."""
    pytest.importorskip("mamba_audio")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "_session", dict(catalog._session))  # what a page registers
    session = "".join(blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(session, {}, page, page, 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert result.attempted
    assert not result.failed, "".join(said)


def test_program_of_the_first_page(capsys):
    pytest.importorskip("mamba_audio")
    (program,) = blocks("index.md", "python")
    names: dict = {}
    exec(compile(program, "index.md", "exec"), names)
    assert names["estimates"].shape[:2] == (2, 2)


@pytest.fixture
def shell(tmp_path):
    """Run a line as a user with the plugin of the first page would; its folder is the first."""
    folder = tmp_path / "acme-birds"
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        # in place of `pip install -e`, which test_new_plugin tries
        "PYTHONPATH": str(folder),
    }

    def run(line):
        if folder.exists():
            environment["MAMBA_PLUGINS_EXTRA"] = "acme_birds.plugin"
        done = subprocess.run(
            line,
            shell=True,
            cwd=folder if folder.exists() else tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def commands(page):
    lines = "".join(blocks(page, "console")).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line[2:] for line in lines]


@pytest.mark.slow
def test_commands_of_the_first_plugin(shell):
    pytest.importorskip("lightning")
    lines = commands("first-plugin.md")
    assert len(lines) > 8
    for line in lines:
        if line.startswith(("cd ", "pip install")):
            continue
        said = shell(line)
        if line.startswith("mamba-core check") and "golden" not in line:
            assert " 0 failed" in said


@pytest.mark.slow
def test_training_page(shell, tmp_path):
    pytest.importorskip("lightning")
    write_plugin("acme-birds", "acme/audio-birds", tmp_path)
    (program,) = blocks("training.md", "python")
    (tmp_path / "acme-birds/program.py").write_text(program)
    assert "accuracy" in shell("python program.py")
    shell("rm -r run")
    for line in commands("training.md"):
        shell(line)


def test_benchmark_commands_name_real_options():
    from typer.main import get_command

    from mamba_core.cli.bench import app

    lines = commands("benchmarks/foundation.md") + commands("reference/bench.md")
    assert lines
    for line in lines:
        words = line.split()
        assert words[:2] == ["mamba-core", "bench"]
        get_command(app(words[2:])).make_context("bench", words[2:])


def test_command_table_is_complete():
    from mamba_core.cli.builtin import COMMANDS

    rows = re.findall(r"^\| `mamba-core ([\w-]+)", text_of("command-line.md"), re.MULTILINE)
    assert rows == list(COMMANDS)


def test_variable_table_is_complete():
    from mamba_core.cli.doctor.machine import VARIABLES

    rows = re.findall(r"^\| `(MAMBA_\w+)`", text_of("command-line.md"), re.MULTILINE)
    assert sorted(rows) == sorted(VARIABLES)


def requirement_names(lines):
    return {re.match(r"[\w.-]+", line)[0] for line in lines}


def test_every_dependency_has_its_reason():
    _, *parts = re.split(r"^## (mamba-\w+)$", text_of("dependencies.md"), flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    core = sections.pop("mamba-core")
    required, extras = core.split("## Extras")
    root = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"^\| `([\w.-]+)` \| ", required, re.MULTILINE)
    assert set(named) == requirement_names(root["dependencies"])
    rows = re.findall(r"^\| `([\w-]+)` \| `([\w.-]+)` \| \S", extras, re.MULTILINE)
    assert set(rows) == {
        (extra, name)
        for extra, lines in root["optional-dependencies"].items()
        for name in requirement_names(lines)
    }
    files = ROOT.glob("plugins/*/pyproject.toml")
    plugins = [tomllib.loads(file.read_text("utf-8"))["project"] for file in files]
    assert set(sections) == {plugin["name"] for plugin in plugins}
    for plugin in plugins:
        named = re.findall(r"^\| `([\w.-]+)` \| ", sections[plugin["name"]], re.MULTILINE)
        optional = plugin.get("optional-dependencies", {}).values()
        lines = [*plugin["dependencies"], *(line for extra in optional for line in extra)]
        assert set(named) == requirement_names(lines)


def test_citation_is_valid():
    yaml = pytest.importorskip("yaml")
    from mamba_core import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    needed = {"cff-version", "message", "title", "authors"}
    assert needed <= set(citation)
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"
    assert all("name" in author or "family-names" in author for author in citation["authors"])
