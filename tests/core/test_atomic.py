"""Files and folders appear whole or not at all, and nothing is replaced unasked."""

from __future__ import annotations

import pytest

from mamba_core.atomic import new_file, new_folder, refuse_taken


def _write_half(context):
    with context as part:
        (part / "a" if part.is_dir() else part).write_text("half")
        raise OSError("disk full")


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="full"):
        _write_half(new_file(target))
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with new_file(target) as part:
        part.write_text("new")
    assert target.read_text() == "new"


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    target = tmp_path / "model"
    with new_folder(target) as part:
        (part / "a").write_text("old")
    with pytest.raises(OSError, match="full"):
        _write_half(new_folder(target))
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_results_that_are_there_are_kept_unless_asked(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    refuse_taken([a, b], overwrite=False)
    a.write_text("")
    with pytest.raises(FileExistsError, match=r"a\.csv exists already.*--overwrite"):
        refuse_taken([a, b], overwrite=False)
    b.write_text("")
    with pytest.raises(FileExistsError, match=r"a\.csv, .*b\.csv exist already"):
        refuse_taken([a, b], overwrite=False)
    refuse_taken([a, b], overwrite=True)
    with pytest.raises(ValueError, match=r"two inputs would both be written as .*a\.csv"):
        refuse_taken([a, a], overwrite=True)
    with pytest.raises(NotADirectoryError, match=r"a\.csv is a file, outputs need a folder"):
        refuse_taken([a / "out.csv"], overwrite=True)


def test_a_folder_may_hold_folders(tmp_path):
    with new_folder(tmp_path / "a") as unfinished:
        (unfinished / "inner").mkdir()
        (unfinished / "inner" / "file").write_text("x", encoding="utf-8")
    assert (tmp_path / "a" / "inner" / "file").read_text(encoding="utf-8") == "x"
