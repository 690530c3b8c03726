"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path


def _beside(target: Path, what: str) -> Path:
    """A free name in the target's own folder: a rename across disks is not atomic."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{what}")


def refuse_taken(targets: Sequence[Path], *, overwrite: bool) -> None:
    """Check that results may be written, before work is done for nothing.

    :param targets: the files to be.
    :param overwrite: whether those that are there may be replaced.
    :raises FileExistsError: when one is there and ``overwrite`` is not set.
    :raises NotADirectoryError: when a file stands where a folder is needed.
    :raises ValueError: when two of them are the same.
    """
    above = {folder for target in targets for folder in target.parents}
    files = sorted(str(folder) for folder in above if folder.is_file())
    if files:
        raise NotADirectoryError(f"{files[0]} is a file, outputs need a folder: choose another")
    twice = [target for k, target in enumerate(targets) if target in targets[:k]]
    if twice:
        raise ValueError(
            f"two inputs would both be written as {twice[0]}: rename one, or give them different "
            "folders by two calls"
        )
    taken = [str(target) for target in targets if target.exists()]
    if taken and not overwrite:
        raise FileExistsError(
            f"{', '.join(taken)} {'exist' if len(taken) > 1 else 'exists'} already: choose another "
            "folder, or overwrite (--overwrite on the command line, overwrite=True in Python)"
        )


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``target`` when the block ends well.

    :param target: a folder that is there is replaced; missing parents are made.
    :raises OSError: when something cannot be written; nothing is left and ``target`` is as before.
    """
    target = Path(os.path.abspath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target, "new")
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush(path)
        _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``; the old one comes back when that fails."""
    if not target.exists():
        new.rename(target)
        return
    old = _beside(target, "old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a path to write; the file takes the place of ``target`` when the block ends well.

    :raises OSError: when it cannot be written; nothing is left and ``target`` is as before.
    """
    target = Path(os.path.abspath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target, "new")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Bring a file to the disk, so that a power cut after the rename does not leave it empty."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
