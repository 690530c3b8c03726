"""What a user reads when something goes wrong."""

from __future__ import annotations

import errno

import pytest
import torch

from mamba_core import registry
from mamba_core.cli.errors import CommandError, explain
from mamba_core.device import choose_device


def test_own_errors_are_their_message():
    assert explain(registry.ConfigError("no field 'x'")) == "ConfigError: no field 'x'"
    assert explain(CommandError("give one")) == "Error: give one"
    assert explain(ValueError("bad")) == "ValueError: bad"


def test_unexpected_error_shows_the_way_to_its_traceback():
    assert "--debug" in explain(TypeError("oops"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9e12 bytes"),
    ],
)
def test_out_of_memory_suggests_batch_size_and_checkpointing(error):
    text = explain(error)
    assert "--train.batch_size" in text
    assert "gradient_checkpointing" in text


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (errno.ENOTDIR, "a folder is needed"),
        (errno.EROFS, "MAMBA_CACHE"),
        (errno.EACCES, "--out"),
        (errno.ENOSPC, "disk is full"),
    ],
)
def test_file_errors_have_a_way_out(code, way_out):
    assert way_out in explain(OSError(code, "text", "/root/x"))


def test_device_that_is_there():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device(None).type in ("cpu", "cuda")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is here")
@pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps"])
def test_device_that_is_not_there(name):
    with pytest.raises(registry.ConfigError, match=r"finds no such device; here: cpu"):
        choose_device(name)


def test_device_that_is_none():
    with pytest.raises(registry.ConfigError, match="no such device"):
        choose_device("gpu0")
