"""Parts of labelled data: classes, what is left out and why, what serves for the test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamba_vision.labelling.parts import class_names, needed_parts, taken
from mamba_vision.labelling.split import smoothed

FOUND = {"train": [("x", "cat"), ("y", "ant")], "val": [], "test": [("z", "cat")]}


def test_classes_are_those_of_training_by_name():
    assert class_names(FOUND, "here", "things") == ("ant", "cat")


def test_a_class_that_only_another_part_has_is_named_with_the_way_out():
    with pytest.raises(ValueError, match=r"^here: test/ has .*'dog'\], train/ has not: give"):
        class_names({**FOUND, "test": [("z", "dog")]}, "here", "things")
    with pytest.raises(FileNotFoundError, match=r"^here holds no things in train/<class>/ and"):
        class_names({"train": [], "val": [], "test": []}, "here", "things")


def test_without_training_samples_the_others_name_the_classes():
    assert class_names({**FOUND, "train": []}, "here", "things") == ("cat",)


def test_val_serves_for_test_and_never_the_other_way():
    assert needed_parts({"train": 1, "val": 2}, "here", "things") == {
        "train": 1,
        "val": 2,
        "test": 2,
    }
    assert needed_parts({"train": 1, "test": 2}, "here", "things") == {"train": 1, "test": 2}
    assert needed_parts({"val": 1}, "here", "things") == {"val": 1, "test": 1}
    with pytest.raises(FileNotFoundError, match="in test/<class>/ or val/<class>/"):
        needed_parts({"train": 1}, "here", "things")


def test_what_cannot_be_taken_is_left_out_with_its_name_and_the_reason_once():
    def take(value):
        if value < 0:
            raise ValueError(f"{value} is below zero")
        if value > 9:
            raise ValueError(f"big: {value} is above nine")
        return value * 10

    kept, labels, skipped = taken([1, -2, 3, 44], ["a", "b", "c", "big"], np.arange(4), take)
    assert kept == [10, 30]
    assert labels.tolist() == [0, 2]
    assert skipped == ("b: -2 is below zero", "big: 44 is above nine")


def test_smoothing_keeps_the_sum():
    target = smoothed(torch.tensor([0.0, 1.0, 0.0, 0.0]), 0.2)
    torch.testing.assert_close(target, torch.tensor([0.05, 0.85, 0.05, 0.05]))
