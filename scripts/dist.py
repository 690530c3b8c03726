"""Build every package, look into the wheels, and try them where no checkout can help.

    python scripts/dist.py

Writes wheels and sdists to ``dist/``. The trial runs in a new virtual environment in a temporary
folder: the demo, and one test of each plugin.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
NATIVE = ROOT / "kernels/native"
# one test file of each plugin
TRIALS = {
    "audio": "test_model.py",
    "graph": "test_model.py",
    "language": "test_model.py",
    "recsys": "test_model.py",
    "timeseries": "test_model.py",
    "vision": "test_model.py",
}


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; a failure ends the program."""
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True)


def look_into(wheel: Path, project: Path) -> None:
    """Raise unless the wheel holds all files of its packages that are not Python's caches."""
    held = set(zipfile.ZipFile(wheel).namelist())
    if project == NATIVE:
        if not any(name.startswith("mamba_kernels_native/kernels.") for name in held):
            raise SystemExit(f"{wheel.name} lacks the library: its compilation failed, see above")
        return
    packages = [p.parent for p in project.glob("mamba_*/py.typed")]
    if project == ROOT:
        packages += [ROOT / "kernels/mamba_kernels", ROOT / "registry/mamba_registry"]
    for package in packages:
        for path in package.rglob("*"):
            name = path.relative_to(package.parent).as_posix()
            if path.is_file() and "__pycache__" not in name and name not in held:
                raise SystemExit(
                    f"{wheel.name} lacks {name}: see [tool.hatch.build] of its project"
                )
    if not any(name.endswith("entry_points.txt") for name in held):
        raise SystemExit(f"{wheel.name} has no entry points: see [project] of its pyproject.toml")


def main() -> None:
    """Build, check, install and try."""
    plugins = sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml"))
    shutil.rmtree(DIST, ignore_errors=True)
    for project in (NATIVE, ROOT, *plugins):
        before = set(DIST.glob("*.whl"))
        run(sys.executable, "-m", "build", "--outdir", DIST, project)
        (wheel,) = set(DIST.glob("*.whl")) - before
        look_into(wheel, project)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    with tempfile.TemporaryDirectory() as name:
        away = Path(name)
        venv.create(away / "env", with_pip=True)
        python = away / "env/bin/python"
        core, *rest = sorted(DIST.glob("*.whl"), key=lambda w: not w.name.startswith("mamba_core"))
        run(python, "-m", "pip", "install", "-q", f"{core}[train]", *rest, "pytest", "hypothesis")
        shutil.copytree(ROOT / "examples", away / "examples")
        run(python, "examples/separate_two_voices.py", "--out", "out", cwd=away)
        for plugin in plugins:
            tests = shutil.copytree(plugin / "tests", away / plugin.name / "tests")
            run(python, "-m", "pytest", "-q", tests / TRIALS[plugin.name], cwd=away)


if __name__ == "__main__":
    main()
