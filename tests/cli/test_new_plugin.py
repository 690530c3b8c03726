"""The template cannot rot: what it writes is installed and its own tests are run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from mamba_core.cli import main
from mamba_core.cli.errors import CommandError
from mamba_core.cli.new_plugin import write_plugin


def test_files(tmp_path):
    folder = write_plugin("acme-birds", "acme/audio-birds", tmp_path)
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/test.yml",
        "acme_birds/plugin.py",
        "acme_birds/cards/audio-birds.md",
        "tests/test_conformance.py",
    } <= written
    assert not [path for path in folder.rglob("*.py") if "$" in path.read_text()]
    assert [path.name for path in tmp_path.iterdir()] == ["acme-birds"]  # no scratch folder


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("Acme Birds", "acme/audio-birds", "lower-case"),
        ("acme-birds", "audio-birds", "use 'acme/audio-birds'"),
        ("acme-birds", "acme/Audio", "not a task id"),
        ("acme-birds", "acme/audio-birds@2", "leave the version out"),
    ],
)
def test_bad_names(tmp_path, name, task, message):
    with pytest.raises(CommandError, match=message):
        write_plugin(name, task, tmp_path)
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_kept(tmp_path, capsys):
    (tmp_path / "acme-birds").mkdir()
    with pytest.raises(SystemExit) as leaving:
        main(["new-plugin", "acme-birds", "--task", "acme/audio-birds", "--out", str(tmp_path)])
    assert leaving.value.code == 1
    assert "exists" in capsys.readouterr().err
    assert not list((tmp_path / "acme-birds").iterdir())


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_plugin("acme-birds", "acme/audio-birds", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The new plugin, built to a wheel and installed into a folder of its own."""
    folder = write_plugin("acme-birds", "acme/audio-birds", tmp_path_factory.mktemp("plugin"))
    target = tmp_path_factory.mktemp("site")
    # without the network: the build backend is the one of the extra [dev]
    words = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(folder)]
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "install"]
    else:  # an environment made by uv
        pip = ["uv", "pip", "install", "--python", sys.executable]
    done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, target


def environment(target):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAMBA_", "PYTEST"))}
    return {**kept, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_its_own_tests_pass_untouched(installed):
    folder, target = installed
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment(target),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed" not in done.stdout


@pytest.mark.slow
def test_it_trains(installed, tmp_path):
    _, target = installed
    words = ["train", "acme/audio-birds", "--preset", "tiny", "--train.max_steps", "3"]
    words += ["--data.items", "8", "--train.batch_size", "4", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from mamba_core.cli import main; main()", *words],
        env=environment(target),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Score" in done.stdout
