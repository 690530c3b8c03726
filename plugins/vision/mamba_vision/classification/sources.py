"""Labelled images from arrays, folders, tar files and torchvision, read one by one."""

from __future__ import annotations

import io
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mamba_vision.classification.data_config import Folder, Packed, Source, Tar, Torchvision
from mamba_vision.images import SUFFIXES, UNREADABLE, from_pil, read_image
from mamba_vision.labelling.arrays import read_packed
from mamba_vision.labelling.parts import PARTS, class_names, needed_parts
from mamba_vision.labelling.split import warn_of_broken


class Images(ABC):
    """Labelled images.

    ``labels`` int64 ``(n,)``, ``classes`` the names in order, ``skipped`` what could not be read.
    """

    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @abstractmethod
    def read(self, index: int, in_chans: int) -> Tensor:
        """Return the pixels of one, uint8 ``(in_chans, H, W)``."""


Parts = dict[str, Images]
"""``train``, ``test`` and, where the source has one, ``val``."""


class Arrays(Images):
    """Images in memory, uint8 ``(n, H, W)`` or ``(n, H, W, C)``."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[str, ...]
    ) -> None:
        self.images, self.labels, self.classes = images, labels, classes

    def read(self, index: int, in_chans: int) -> Tensor:
        """See :meth:`Images.read`."""
        image = self.images[index]
        found = 1 if image.ndim == 2 else image.shape[-1]
        if found == in_chans:
            pixels = torch.from_numpy(np.ascontiguousarray(image))
            return pixels[None] if image.ndim == 2 else pixels.movedim(-1, 0)
        return from_pil(Image.fromarray(image), in_chans)


class Files(Images):
    """Images in files, or in bytes that came from a tar file."""

    def __init__(
        self, files: list[tuple[Path | bytes, str]], names: list[str], classes: tuple[str, ...]
    ) -> None:
        self.files, self.names, self.classes = files, names, classes
        number = {name: k for k, name in enumerate(classes)}
        self.labels = np.array([number[name] for _, name in files], dtype=np.int64)

    def read(self, index: int, in_chans: int) -> Tensor:
        """See :meth:`Images.read`."""
        file = self.files[index][0]
        if isinstance(file, Path):
            try:
                return read_image(file, in_chans)
            except (ValueError, OSError) as error:
                raise ValueError(
                    f"{error}: take it away, or set data.source.check='all' to leave such files out"
                ) from error
        try:
            with Image.open(io.BytesIO(file)) as image:
                return from_pil(image, in_chans)
        except (ValueError, *UNREADABLE) as error:
            raise ValueError(f"{self.names[index]} cannot be read ({error})") from error


def open_source(source: Source) -> Parts:
    """Open labelled images.

    :raises FileNotFoundError: when they are not there.
    :raises ValueError: for files of another layout.
    """
    return _OPEN[type(source)](source)


def _packed(source: Packed) -> Parts:
    parts, names = read_packed(source.path)
    return {part: Arrays(images, labels, names) for part, (images, labels) in parts.items()}


def _folder(source: Folder) -> Parts:
    if not source.path.is_dir():
        raise FileNotFoundError(f"{source.path} is no folder: give the one that holds train/")
    found: dict[str, list[tuple[Path | bytes, str]]] = {}
    for part in PARTS:
        files = sorted((source.path / part).glob("*/**/*"))
        root = source.path / part
        found[part] = [
            (file, file.relative_to(root).parts[0])
            for file in files
            if file.suffix.lower() in SUFFIXES
        ]
    return _parts(found, str(source.path), whole=source.check == "all")


def _tar(source: Tar) -> Parts:
    _need(source.path)
    found: dict[str, list[tuple[Path | bytes, str]]] = {"train": [], "val": [], "test": []}
    named: dict[int, str] = {}
    with tarfile.open(source.path) as tar:
        for member in tar:
            place = Path(member.name).parts[-3:]
            if member.isfile() and len(place) == 3 and place[0] in found:
                file = tar.extractfile(member)
                assert file is not None
                content = file.read()
                named[id(content)] = member.name
                found[place[0]].append((content, place[1]))
    return _parts(found, str(source.path), whole=False, name=lambda c: named.get(id(c), str(c)))


def _parts(
    found: dict[str, list[tuple[Path | bytes, str]]],
    where: str,
    *,
    whole: bool,
    name: Callable[[Path | bytes], str] = str,
) -> Parts:
    """Make the parts of lists of (file, class); broken files are left out and named."""
    classes = class_names(found, where, "images")
    parts: Parts = {}
    broken: list[str] = []
    for part, files in found.items():
        bad = [name(file) for file, _ in files if not _opens(file, whole)]
        kept = [(file, label) for file, label in files if name(file) not in set(bad)]
        if kept:
            parts[part] = Files(kept, [name(file) for file, _ in kept], classes)
            parts[part].skipped = tuple(bad)
        broken += bad
    warn_of_broken(broken, "images", stacklevel=4)
    return needed_parts(parts, where, "images")


def _opens(file: Path | bytes, whole: bool) -> bool:
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file)) as image:
            if whole:
                image.load()
    except UNREADABLE:
        return False
    return True


def _torchvision(source: Torchvision) -> Parts:
    make = getattr(torchvision.datasets, source.name)
    parts: Parts = {}
    for part in ("train", "test"):
        try:
            data = make(str(source.root), train=part == "train", download=source.download)
        except RuntimeError as error:
            raise FileNotFoundError(
                f"{source.name} is not in {source.root} ({error}): set source.download=True"
            ) from error
        labels = np.asarray(data.targets, dtype=np.int64)
        parts[part] = Arrays(np.asarray(data.data), labels, tuple(data.classes))
    return parts


def _need(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the file with the images")


_OPEN: dict[type, Callable[..., Parts]] = {
    Packed: _packed,
    Folder: _folder,
    Tar: _tar,
    Torchvision: _torchvision,
}
