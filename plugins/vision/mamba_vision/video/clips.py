"""Clips from files and memory: video files, folders of frames, arrays. Read frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_core.registry import DependencyMissingError
from mamba_vision.images import SUFFIXES as IMAGE_SUFFIXES
from mamba_vision.images import read_image, to_pixels

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v")
"""Files that are taken for videos."""
_FORMATS = {1: "gray", 3: "rgb24"}


class Clip(ABC):
    """Frames in their order; ``len`` is their number."""

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, places: Sequence[int], in_chans: int) -> Tensor:
        """Return frames, uint8 or float32 in 0 to 1, ``(len(places), in_chans, H, W)``.

        :param places: numbers of frames, not falling; one may stand there several times.
        :raises ValueError: for frames that cannot be read, or differ in size.
        """


class FrameFolder(Clip):
    """A folder of image files; the order of frames is that of the names, numbers by value."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.files = sorted(_images_in(path), key=_by_number)
        if not self.files:
            raise ValueError(f"{path} holds no image files: a folder of frames is meant")

    def __len__(self) -> int:
        return len(self.files)

    def read(self, places: Sequence[int], in_chans: int) -> Tensor:
        """See :meth:`Clip.read`."""
        frames = {k: read_image(self.files[k], in_chans) for k in dict.fromkeys(places)}
        if len({tuple(frame.shape) for frame in frames.values()}) > 1:
            raise ValueError(f"{self.name} has frames of several sizes: a clip needs one")
        return torch.stack([frames[k] for k in places])


class VideoFile(Clip):
    """A video file, decoded by PyAV.

    :raises ValueError: for a file that is no video, or holds no frame.
    :raises DependencyMissingError: without PyAV.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        self._av = _pyav()
        self.frames = self._count()

    def _count(self) -> int:
        """The number of frames the file says it has, else of those that can be decoded."""
        try:
            with self._av.open(self.name) as container:
                (stream, *_) = container.streams.video or (None,)
                if stream is None:
                    raise ValueError(f"{self.name} has no picture: a video file is meant")
                said: int = stream.frames
                found = said or sum(1 for _ in container.decode(stream))
        except (self._av.error.FFmpegError, OSError) as error:
            raise ValueError(f"{self.name} cannot be read as a video ({error})") from error
        if not found:
            raise ValueError(f"{self.name} holds no frame")
        return found

    def __len__(self) -> int:
        return self.frames

    def read(self, places: Sequence[int], in_chans: int) -> Tensor:
        """See :meth:`Clip.read`."""
        if in_chans not in _FORMATS:
            raise ValueError(f"videos have 1 or 3 channels, the model has in_chans = {in_chans}")
        wanted, found = set(places), {}
        number = -1
        try:
            with self._av.open(self.name) as container:
                for number, frame in enumerate(container.decode(video=0)):
                    if number in wanted:
                        found[number] = frame.to_ndarray(format=_FORMATS[in_chans])
                    if len(found) == len(wanted):
                        break
        except (self._av.error.FFmpegError, OSError) as error:
            raise ValueError(f"{self.name} cannot be decoded ({error})") from error
        if len(found) < len(wanted):
            raise ValueError(
                f"{self.name} is cut off: it says {self.frames} frames, {number + 1} can be decoded"
            )
        frames = torch.from_numpy(np.stack([found[k] for k in places]))
        return frames[:, None] if in_chans == 1 else frames.movedim(-1, 1)


class ArrayClip(Clip):
    """A clip in memory: one array or tensor, or a sequence of images.

    :param frames: a tensor ``(T, C, H, W)``; an array ``(T, H, W)`` or ``(T, H, W, C)``; or a
        sequence of what :func:`~mamba_vision.images.to_pixels` takes.
    """

    def __init__(self, frames: Any, name: str = "the clip") -> None:
        if not isinstance(frames, Tensor | np.ndarray | Sequence) or len(frames) == 0:
            raise ValueError(
                f"{name} is {type(frames).__name__}, or empty: a tensor (T, C, H, W), an array "
                "(T, H, W[, C]), a sequence of images or a path is meant"
            )
        self.frames, self.name = frames, name

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, places: Sequence[int], in_chans: int) -> Tensor:
        """See :meth:`Clip.read`."""
        frames = [to_pixels(self.frames[k], in_chans) for k in places]
        if len({tuple(frame.shape) for frame in frames}) > 1:
            raise ValueError(f"{self.name} has frames of several sizes: a clip needs one")
        return torch.stack(frames)


def open_clip(source: Any) -> Clip:
    """Open a video file, a folder of frames, or what :class:`ArrayClip` takes.

    :raises FileNotFoundError: for a path that does not exist.
    :raises ValueError: for what is no clip.
    """
    if not isinstance(source, str | Path):
        return ArrayClip(source)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give video files or folders of frames")
    return FrameFolder(path) if path.is_dir() else VideoFile(path)


def clip_paths(inputs: Sequence[Path]) -> list[Path]:
    """Return the clips that paths name, in the order of names.

    A folder that holds image files is one clip; another is searched for such folders and for video
    files, at any depth.

    :raises FileNotFoundError: for a folder without clips.
    """
    clips: list[Path] = []
    for path in inputs:
        found = found_in(path) if path.is_dir() else [path]
        if not found:
            raise FileNotFoundError(
                f"{path} holds no {', '.join(SUFFIXES)} files and no folder of image files"
            )
        clips += found
    return clips


def found_in(path: Path) -> list[Path]:
    """Return the clips at and below a path: a folder with image files is one, a video file is."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in SUFFIXES else []
    if _images_in(path):
        return [path]
    return [clip for child in sorted(path.iterdir()) for clip in found_in(child)]


def spread(length: int, frames: int, *, share: Tensor | None = None) -> NDArray[np.int64]:
    """Return which frames of a clip are looked at: one of each of ``frames`` equal parts.

    Of a clip that is shorter the frames are repeated evenly, in their order.

    :param length: frames of the clip.
    :param share: where in each part, float ``(frames,)`` in [0, 1); None is the middle.
    :returns: int64 ``(frames,)``, not falling.
    """
    inside = 0.5 if share is None else share.numpy().astype(np.float64)
    places = (np.arange(frames) + inside) * length / frames
    return np.minimum(places.astype(np.int64), length - 1)


def check_length(clip: Clip, frames: int, short: str) -> None:
    """Raise ``ValueError`` for a clip with too few frames where the rule is to refuse it."""
    if short == "refuse" and len(clip) < frames:
        raise ValueError(
            f"{clip.name} has {len(clip)} frames, the model asks for {frames}: set "
            "short='repeat' to repeat them, or model.frames to fewer"
        )


def _images_in(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]


def _by_number(path: Path) -> tuple[str, int, str]:
    """``frame2`` before ``frame10``: the number at the end of a name counts as a number."""
    letters = path.stem.rstrip("0123456789")
    digits = path.stem[len(letters) :]
    return letters, int(digits or 0), path.name


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise DependencyMissingError(
            f"video files are decoded by PyAV, which cannot be imported ({error}): pip install "
            "'mamba-vision[video]', or give folders of frames"
        ) from error
    return av
