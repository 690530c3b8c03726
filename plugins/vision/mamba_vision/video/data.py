"""Training, validation and test clips of ``video-cls``.

A sample is a function of (seed, epoch, index) only: random changes draw from a generator seeded
by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms import v2

from mamba_vision.classification.data_config import Packed
from mamba_vision.images import Preparation
from mamba_vision.labelling.arrays import read_packed
from mamba_vision.labelling.dataset import LabelledDataset
from mamba_vision.labelling.parts import PARTS, class_names, needed_parts, taken
from mamba_vision.labelling.split import (
    Sample,
    Split,
    make_sample,
    smoothed,
    warn_of_broken,
)
from mamba_vision.seeding import drawn_from
from mamba_vision.video.clips import ArrayClip, Clip, check_length, found_in, open_clip, spread
from mamba_vision.video.config import VideoConfig
from mamba_vision.video.data_config import ClipAugment, ClipFolder, VideoData


@dataclass
class Clips:
    """Labelled clips of one part of the data."""

    clips: list[Clip]
    """In the order of their names."""
    labels: NDArray[np.int64]
    """Of each clip."""
    classes: tuple[str, ...]
    """Their names, in order."""
    skipped: tuple[str, ...] = ()
    """What could not be read."""


class VideoDataset(LabelledDataset[Clips]):
    """Labelled clips of ``video-cls``.

    :param data: where they lie.
    :param model: size, frames, channels, normalisation and number of classes.
    :raises FileNotFoundError: when they are not there.
    :raises ValueError: when the classes of the data are not those of the model.
    """

    def __init__(self, data: VideoData, model: VideoConfig) -> None:
        self.data, self.model = data, model
        source = data.source
        parts = _packed(source) if isinstance(source, Packed) else _folder(data, source, model)
        super().__init__(parts, model, data.val_share)

    def plain(self, part: Clips, places: NDArray) -> Split:
        """See :meth:`LabelledDataset.plain`."""
        return PlainClips(part, places, self.data, self.model)

    def varied(self, part: Clips, places: NDArray, seed: int) -> Split:
        """See :meth:`LabelledDataset.varied`."""
        return VariedClips(part, places, self.data, self.model, seed)


class PlainClips:
    """Clips as they are, for validation and test: the middle frame of each part."""

    def __init__(self, clips: Clips, places: NDArray, data: VideoData, model: VideoConfig) -> None:
        self.clips, self.places, self.model = clips, places, model
        self.prepare = Preparation(model, data.crop)

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        place = int(self.places[index])
        clip = self.clips.clips[place]
        frames = clip.read(spread(len(clip), self.model.frames).tolist(), self.model.in_chans)
        label = int(self.clips.labels[place])
        return make_sample("clips", self.prepare(frames), label, self.model.num_classes)


class VariedClips:
    """Training clips: other moments, another part of the frame, mirrored."""

    def __init__(
        self, clips: Clips, places: NDArray, data: VideoData, model: VideoConfig, seed: int
    ) -> None:
        self.clips, self.places, self.model, self.seed = clips, places, model, seed
        self.augment = data.augment
        self.vary = varying(data.augment, model)

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        place, frames = int(self.places[index]), self.model.frames
        clip = self.clips.clips[place]
        with drawn_from(self.seed, epoch, index):
            share = torch.rand(frames) if self.augment.moments else None
            chosen = spread(len(clip), frames, share=share).tolist()
            pixels: Tensor = self.vary(clip.read(chosen, self.model.in_chans))
        sample = make_sample("clips", pixels, int(self.clips.labels[place]), self.model.num_classes)
        return {**sample, "targets": smoothed(sample["targets"], self.augment.label_smoothing)}


def varying(augment: ClipAugment, model: VideoConfig) -> v2.Transform:
    """Return torchvision's transforms for training clips ``(T, C, H, W)``, drawn once per clip."""
    size = list(model.image_size)
    steps: list[nn.Module] = []
    if augment.crop == "resized":
        steps.append(v2.RandomResizedCrop(size, scale=augment.scale, antialias=True))
    else:
        steps.append(v2.Resize(size, antialias=True))
    if augment.crop == "pad":
        steps.append(v2.RandomCrop(size, padding=augment.pad))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip())
    steps += [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(model.mean), list(model.std)),
    ]
    return v2.Compose(steps)


def _packed(source: Packed) -> dict[str, Clips]:
    parts, names = read_packed(source.path)
    return {
        part: Clips([ArrayClip(clip, f"clip {k}") for k, clip in enumerate(x)], y, names)
        for part, (x, y) in parts.items()
    }


def _folder(data: VideoData, source: ClipFolder, model: VideoConfig) -> dict[str, Clips]:
    """Open every clip of ``split/class/``; those that cannot be are left out and named."""
    if not source.path.is_dir():
        raise FileNotFoundError(f"{source.path} is no folder: give the one that holds train/")
    where = str(source.path)
    found = {part: _paths(source.path / part) for part in PARTS}
    classes = class_names(found, where, "clips")

    def opened(path: Path) -> Clip:
        clip = open_clip(path)
        check_length(clip, model.frames, data.short)
        if source.check == "all":
            clip.read(range(len(clip)), model.in_chans)
        return clip

    parts: dict[str, Clips] = {}
    for part, paths in found.items():
        labels = np.array([classes.index(label) for _, label in paths], dtype=np.int64)
        files = [path for path, _ in paths]
        clips, labels, skipped = taken(files, list(map(str, files)), labels, opened)
        parts[part] = Clips(clips, labels, classes, skipped)
    broken = [name for part in parts.values() for name in part.skipped]
    warn_of_broken(broken, "clips", stacklevel=4)
    return needed_parts({k: part for k, part in parts.items() if part.clips}, where, "clips")


def _paths(part: Path) -> list[tuple[Path, str]]:
    """Clips and their classes; frames that lie in a class's folder itself belong to no clip."""
    classes = sorted(p for p in part.glob("*") if p.is_dir())
    children = [(child, c.name) for c in classes for child in sorted(c.iterdir())]
    return [(clip, name) for child, name in children for clip in found_in(child)]
