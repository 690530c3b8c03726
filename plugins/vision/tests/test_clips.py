"""Clips of any form: read, labelled, answered; bad ones named."""

from __future__ import annotations

import csv
import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image

from mamba_core import registry
from mamba_core.registry import DependencyMissingError
from mamba_vision.video import clips as clips_module
from mamba_vision.video.clips import open_clip, spread
from mamba_vision.video.config import VideoConfig, VideoPredict
from mamba_vision.video.data import VideoDataset
from mamba_vision.video.data_config import VideoData
from mamba_vision.video.predict import ClipLabeller
from mamba_vision.video.reproduce import MOVES
from mamba_vision.video.reproduce import moving as digits_that_move

needs_av = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason="PyAV is not installed: mamba-vision[video]"
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return registry.build("video-cls", preset="tiny").eval()


def moving(direction, frames=6, side=16, start=2):
    """A white square on black that goes right (0), left (1), down (2) or up (3); uint8."""
    clip = np.zeros((frames, side, side, 3), dtype=np.uint8)
    for t in range(frames):
        along = start + t if direction % 2 == 0 else side - 6 - t - start
        row, column = (5, along) if direction < 2 else (along, 5)
        clip[t, row : row + 4, column : column + 4] = 255
    return clip


def write_frames(folder, clip):
    folder.mkdir(parents=True)
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / f"frame{number}.png")


def write_video(path, clip):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def folder(tmp_path):
    """Two classes of frame folders, right and left."""
    for part, count in (("train", 5), ("test", 2)):
        for number, name in enumerate(("right", "left")):
            for k in range(count):
                where = tmp_path / "clips" / part / name / f"c{k}"
                write_frames(where, moving(number, frames=12, start=k % 2))
    return tmp_path / "clips"


def dataset(path, *, frames=6, **fields):
    config = registry.config("video-cls", preset="tiny", num_classes=2, frames=frames)
    return VideoDataset(VideoData(source={"kind": "folder", "path": path}, **fields), config)


def test_frames_are_spread_and_those_of_short_clips_repeat():
    assert spread(12, 4).tolist() == [1, 4, 7, 10]
    assert spread(4, 4).tolist() == [0, 1, 2, 3]
    assert spread(2, 4).tolist() == [0, 0, 1, 1]
    assert spread(1, 3).tolist() == [0, 0, 0]
    drawn = spread(12, 4, share=torch.tensor([0.0, 0.999, 0.0, 0.999])).tolist()
    assert drawn == [0, 5, 6, 11]


def test_frames_stand_in_the_order_of_their_numbers(tmp_path):
    clip = np.stack([np.full((8, 8, 3), t, dtype=np.uint8) for t in range(12)])
    write_frames(tmp_path / "clip", clip)
    read = open_clip(tmp_path / "clip").read(range(12), 3)
    assert read[:, 0, 0, 0].tolist() == list(range(12))


@needs_av
@pytest.mark.parametrize("in_chans", [1, 3])
def test_a_video_file_gives_its_frames(tmp_path, in_chans):
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 255, (7, 16, 24, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mkv", clip)
    read = open_clip(tmp_path / "a.mkv")
    assert len(read) == 7
    frames = read.read([0, 3, 3, 6], in_chans)
    assert frames.shape == (4, in_chans, 16, 24)
    assert torch.equal(frames[1], frames[2])
    if in_chans == 3:
        assert np.array_equal(frames.movedim(1, -1).numpy(), clip[[0, 3, 3, 6]])


def test_without_pyav_the_way_out_is_said(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "av":
            raise ImportError("no av")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(DependencyMissingError, match=r"mamba-vision\[video\]"):
        open_clip(tmp_path / "a.mp4")


def test_labelled_folder(folder):
    data = dataset(folder, val_share=0.2)
    assert data.classes == ("left", "right")
    train, val, test = data.train(seed=0), data.val(seed=0), data.test(seed=0)
    assert (len(train), len(val), len(test)) == (8, 2, 4)
    sample = test.sample(0, 0)
    assert sample["clips"].shape == (6, 3, 16, 16)
    assert sample["labels"].item() == 0
    first, again = train.sample(1, 2), dataset(folder, val_share=0.2).train(seed=0).sample(1, 2)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    other = train.sample(0, 2)["clips"]
    assert not torch.equal(first["clips"], other), "other moments in another epoch"


def test_arrays_of_clips(tmp_path):
    clips = np.stack([moving(k % 2) for k in range(6)])
    labels = np.arange(6) % 2
    np.savez(tmp_path / "a.npz", x_train=clips, y_train=labels, x_test=clips, y_test=labels)
    config = registry.config("video-cls", preset="tiny", num_classes=2)
    source = {"kind": "npz", "path": tmp_path / "a.npz"}
    data = VideoDataset(VideoData(source=source), config)
    assert data.test(seed=0).sample(0, 1)["clips"].shape == (4, 3, 16, 16)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        VideoDataset(VideoData(source={"kind": "npz", "path": tmp_path / "b.npz"}), config)


def test_bad_clips_are_named_skipped_and_counted(folder):
    (folder / "train" / "left" / "c0" / "frame3.png").write_bytes(b"broken")
    write_frames(folder / "train" / "left" / "short", moving(1, frames=2))
    with pytest.warns(UserWarning, match=r"1 files cannot be read as clips .*short"):
        data = dataset(folder, short="refuse")
    assert len(data.parts["train"].labels) == 10
    (said,) = data.parts["train"].skipped
    assert "2 frames" in said
    source = {"kind": "folder", "path": folder, "check": "all"}
    config = registry.config("video-cls", preset="tiny", num_classes=2)
    with pytest.warns(UserWarning, match=r"1 files cannot be read as clips .*c0"):
        data = VideoDataset(VideoData(source=source), config)
    assert len(data.parts["train"].skipped) == 1
    with pytest.raises(ValueError, match=r"set model\.num_classes=2"):
        VideoDataset(VideoData(source={"kind": "folder", "path": folder}), VideoConfig())


@needs_av
def test_a_video_that_is_none_or_cut_off(model, folder):
    left = folder / "train" / "left"
    (left / "no.mp4").write_bytes(b"this is no video")
    write_video(
        left / "cut.mkv", np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), "uint8")
    )
    whole = (left / "cut.mkv").read_bytes()
    (left / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"no\.mp4"):
        data = dataset(folder)
    assert len(data.parts["train"].skipped) == 1
    rows = ClipLabeller(model).run([left], folder / "out")
    assert "cannot be read as a video" in next(r["error"] for r in rows if "no.mp4" in r["file"])


def test_every_form_of_a_clip_gives_one_answer(model, tmp_path):
    clip = moving(0)
    write_frames(tmp_path / "clip", clip)
    tensor = torch.from_numpy(clip).movedim(-1, 1)
    forms = [tmp_path / "clip", clip, tensor, tensor.float() / 255, list(clip)]
    if importlib.util.find_spec("av") is not None:
        write_video(tmp_path / "clip.mkv", clip)
        forms.append(str(tmp_path / "clip.mkv"))
    answers = ClipLabeller(model, VideoPredict(top=3)).classify(forms)
    for answer in answers:
        assert answer.labels == answers[0].labels
        assert answer.probabilities == pytest.approx(answers[0].probabilities, rel=1e-4)


def test_a_folder_of_clips_with_a_broken_one(model, folder):
    left = folder / "test" / "left"
    (left / "c0" / "frame1.png").write_bytes(b"broken")
    seen = []
    labeller = ClipLabeller(model, VideoPredict(batch_size=3))
    rows = labeller.run([folder / "test"], folder / "out", progress=lambda *s: seen.append(s))
    assert seen == [("c0", 3, 4), ("c1", 4, 4)]
    assert "cannot be read as an image" in rows[0]["error"]
    assert all("error" not in row for row in rows[1:])
    with (folder / "out" / "predictions.csv").open() as file:
        assert [row["label"] == "" for row in csv.DictReader(file)] == [True, False, False, False]
    with pytest.raises(FileNotFoundError, match="no folder of image files"):
        labeller.run([folder / "out"], folder / "other")


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (torch.full((4, 3, 8, 8), float("nan")), "NaN or infinity"),
        (torch.zeros(4, 1, 8, 8), "expected 3 channels"),
        (torch.zeros(0, 3, 8, 8), "empty"),
        (np.zeros((4, 8, 8, 5), dtype=np.uint8), "expected 3 channels"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], "several sizes"),
        (3, "int"),
        ("nowhere.mp4", "does not exist"),
    ],
    ids=["nan", "channels", "empty", "array", "sizes", "number", "missing"],
)
def test_bad_clips_are_refused(model, clip, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        ClipLabeller(model).classify([clip])


def test_short_clips_are_refused_where_asked(model):
    strict = ClipLabeller(model, VideoPredict(short="refuse"))
    with pytest.raises(ValueError, match="has 2 frames, the model asks for 4"):
        strict.classify([moving(0, frames=2)])
    assert ClipLabeller(model).classify([moving(0, frames=2)])


def test_suffixes_of_videos_are_no_images():
    assert not set(clips_module.SUFFIXES) & set(clips_module.IMAGE_SUFFIXES)


def test_no_single_frame_tells_where_a_digit_goes():
    """The clips of the card's table: whole digits, moved by two pixels, wherever they start."""
    digits = np.full((3, 28, 28), 200, dtype=np.uint8)
    clips, labels = digits_that_move(digits, 50, seed=0)
    assert clips.shape == (200, 8, 32, 32)
    assert np.bincount(labels).tolist() == [50] * 4
    assert (clips.sum((2, 3)) == 200 * 14 * 14).all()
    for label, (axis, step) in enumerate(MOVES.values()):
        clip = clips[label * 50]
        assert np.array_equal(np.roll(clip[2], step, axis=axis), clip[3])
    places = clips[:, 4].reshape(200, -1).argmax(1)
    means = [places[labels == label].mean() for label in range(4)]
    assert np.ptp(means) < 4 * places.std() / np.sqrt(50)


@pytest.mark.slow
def test_trained_saved_measured_and_used(folder):
    """Right and left differ in the order of frames only."""
    import mamba_core

    data = {"source": {"kind": "folder", "path": str(folder)}, "val_share": 0.2}
    result = mamba_core.train(
        "video-cls",
        preset="tiny",
        out=folder / "run",
        model={"num_classes": 2, "labels": ("left", "right")},
        data=data,
        train={"max_steps": 40, "batch_size": 4, "lr": 5e-3, "warmup_steps": 5, "ema": None},
    )
    assert result.score == 1.0
    measured = mamba_core.evaluate(folder / "run" / "best", data=data)
    assert measured.metrics["top1"] == 1.0
    rows = mamba_core.predict(folder / "run", [folder / "test"], folder / "answers")
    assert [row["label"] for row in rows] == ["left", "left", "right", "right"]
