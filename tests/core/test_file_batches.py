"""Several files through a predictor: bad ones among good ones, outputs whole or not at all."""

from __future__ import annotations

import pytest

from mamba_core.file_batches import file_by_file, take_each


def shout(path, target):
    text = path.read_text()
    target.write_text(text.upper()[: len(text) // 2])
    if "bad" in text:  # half of the output is written by now
        raise ValueError(f"{path.name} holds 'bad'")
    target.write_text(text.upper())
    return {"letters": len(text)}


@pytest.fixture
def files(tmp_path):
    texts = {"a.txt": "one", "b.txt": "a bad one", "c.txt": "three"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in texts]


def test_a_bad_file_stops_no_other_and_comes_last(files, tmp_path):
    seen = []
    out = tmp_path / "out"
    rows = file_by_file(files, out, ".up", shout, progress=lambda *at: seen.append(at))
    assert [row["file"] for row in rows] == [str(files[k]) for k in (0, 2, 1)]
    assert rows[0] == {"file": str(files[0]), "output": str(out / "a.up"), "letters": 3}
    assert rows[2] == {"file": str(files[1]), "error": "b.txt holds 'bad'"}
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "a.up": "ONE",
        "c.up": "THREE",
    }
    assert seen == [("a.txt", 1, 3), ("b.txt", 2, 3), ("c.txt", 3, 3)]


def test_a_file_that_is_not_there_is_a_bad_file(files, tmp_path):
    rows = file_by_file([tmp_path / "gone.txt", files[0]], tmp_path / "out", ".up", shout)
    assert [("error" in row, row["file"]) for row in rows] == [
        (False, str(files[0])),
        (True, str(tmp_path / "gone.txt")),
    ]


def test_the_error_of_a_single_file_is_raised(files, tmp_path):
    with pytest.raises(ValueError, match=r"^b\.txt holds 'bad'$"):
        file_by_file([files[1]], tmp_path / "out", ".up", shout)
    assert not list((tmp_path / "out").iterdir())


def test_outputs_that_are_there_are_named_before_anything_is_read(files, tmp_path):
    (tmp_path / "a.up").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.up exists already"):
        file_by_file(files, tmp_path, ".up", lambda path, target: pytest.fail("read"))
    assert (tmp_path / "a.up").read_text() == "mine"
    file_by_file(files[:1], tmp_path, ".up", shout, overwrite=True)
    assert (tmp_path / "a.up").read_text() == "ONE"


def test_two_files_of_one_name_are_refused(files, tmp_path):
    other = tmp_path / "deep"
    other.mkdir()
    (other / "a.txt").write_text("two")
    with pytest.raises(ValueError, match="two inputs would both be written as"):
        file_by_file([files[0], other / "a.txt"], tmp_path / "out", ".up", shout)


def test_no_files_no_rows():
    assert take_each([], lambda path: pytest.fail("taken")) == []


def test_other_errors_are_not_hidden(files):
    def broken(path):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        take_each(files, broken)
