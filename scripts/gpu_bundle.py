"""What a machine with a GPU and without a network lacks, in one folder that can be carried there.

    python scripts/gpu_bundle.py --plugin audio --data FOLDER
    make gpu-bundle PLUGIN=audio DATA=FOLDER          # the same

``gpu-bundle/wheels`` gets our packages and those named by ``--lacks`` with what they need, for the
Python of that machine; ``gpu-bundle/data`` the data. There:

    python3 -m pip install --no-index --no-deps --target site gpu-bundle/wheels/*.whl
    PYTHONPATH=site python3 scripts/gpu_run.py --out OUT
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LACKS = {"": ("pydantic",), "audio": ("soundfile", "soxr")}
"""By plugin, "" for all: what an image with torch, Lightning and the usual tools does not have."""
NEVER = ("torch", "numpy", "triton", "nvidia", "cuda")
"""Starts of names that are not carried: the machine has its own."""


def build(plugins: list[str], wheels: Path) -> None:
    """Put the wheels of the core and of plugins there; the native CPU kernels stay behind."""
    for project in (ROOT, *(ROOT / "plugins" / name for name in plugins)):
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", str(wheels), str(project)],
            check=True,
        )


def download(names: list[str], python: str, wheels: Path) -> None:
    """Fetch packages and what they need, as wheels for x86-64 Linux and that Python."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (17, 24, 27, 28, 31, 34, 35, 39)]
    words = [word for name in (*platforms, "manylinux2014_x86_64") for word in ("--platform", name)]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q"),
            *("--only-binary=:all:", "--implementation", "cp", "--python-version", python),
            *(*words, "--dest", str(wheels), *names),
        ],
        check=True,
    )
    for wheel in wheels.glob("*.whl"):
        if wheel.name.lower().startswith(NEVER):
            wheel.unlink()


def mebibytes(folder: Path) -> float:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main() -> None:
    """Build, fetch, copy, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugin", action="append", default=[], help="its package too; repeatable")
    parser.add_argument("--data", type=Path, help="folder or file to take along")
    parser.add_argument("--lacks", nargs="+", help="packages that the machine lacks")
    parser.add_argument("--python", default="3.12", help="of the machine")
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-bundle")
    parser.add_argument("--limit-mib", type=float, default=64.0, help="what may travel at once")
    given = parser.parse_args()
    wheels, data = given.out / "wheels", given.out / "data"
    for folder in (wheels, data):  # nothing else of --out is ours to remove
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    build(given.plugin, wheels)
    lacks = given.lacks or [name for one in ("", *given.plugin) for name in LACKS.get(one, ())]
    download(lacks, given.python, wheels)
    if given.data is not None:
        copy = shutil.copytree if given.data.is_dir() else shutil.copy2
        copy(given.data, data / given.data.name)
    for wheel in sorted(wheels.iterdir()):
        print(f"  {wheel.name}")
    total = mebibytes(given.out)
    print(f"{given.out}: {total:.1f} MiB, {mebibytes(data):.1f} of them data")
    if total > given.limit_mib:
        raise SystemExit(
            f"more than --limit-mib {given.limit_mib:g}: take less data, or name --lacks yourself"
        )


if __name__ == "__main__":
    main()
