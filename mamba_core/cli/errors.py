"""What a user reads when something goes wrong: one message, no traceback."""

from __future__ import annotations

import errno

_OURS = ("mamba_core", "mamba_registry", "mamba_kernels")
_WAYS_OUT = {
    errno.ENOTDIR: "There is a file where a folder is needed: choose another one.",
    errno.EROFS: "Choose a folder that can be written (--out DIR, or MAMBA_CACHE=DIR for weights).",
    errno.EACCES: "Choose a folder you may write (--out DIR, or MAMBA_CACHE=DIR for weights).",
    errno.ENOSPC: "The disk is full: free some space or choose another disk with --out DIR.",
}


class CommandError(Exception):
    """Raised by a command for what its user can put right; the message says how."""


def explain(error: BaseException) -> str:
    """Return the message for an error that ends a command.

    Errors the user can act on show their own text; anything else says that it is unexpected
    and how to see the traceback.
    """
    if is_out_of_memory(error):
        return (
            f"Out of memory: {_first_line(error)}\n"
            "Make the batch smaller (--train.batch_size, and --train.accumulate to keep its "
            "effect), the input shorter or chunked (--predict.chunk), or recompute activations "
            "(--model.gradient_checkpointing true), where the task has these fields."
        )
    if isinstance(error, CommandError):
        return f"Error: {error}"
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        way_out = _WAYS_OUT.get(error.errno or 0)
        return f"{text}\n{way_out}" if way_out else text
    if is_ours(error) or isinstance(error, ValueError):
        return text
    return f"{text}\nThis is unexpected: `mamba-core --debug ...` shows where it comes from."


def is_ours(error: BaseException) -> bool:
    """Say whether an error's class (or a base of it) is defined by this project."""
    return any(base.__module__.split(".")[0] in _OURS for base in type(error).__mro__)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, on a device or on the host, without importing torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
