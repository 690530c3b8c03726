"""From a weights record to a file on disk: in the package, in the cache, or fetched into it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path, PurePosixPath

from mamba_registry.errors import WeightsError
from mamba_registry.specs import WeightsSpec

Progress = Callable[[int, int | None], None]
"""``(bytes so far, bytes in all or None)``."""

_BLOCK = 1 << 20
_TIMEOUT = 30.0


def cache_folder() -> Path:
    """Where downloads are kept: ``MAMBA_CACHE``, else ``~/.cache/mamba-core``."""
    named = os.environ.get("MAMBA_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~").expanduser() / ".cache") / "mamba-core"


def offline() -> bool:
    """Whether ``MAMBA_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network."""
    for name in ("MAMBA_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off"):
            return True
    return False


def resolve_weights(spec: WeightsSpec, progress: Progress | None = None) -> Path:
    """Return the path of a file with exactly the recorded content.

    Where the record has no hash, that of the first download is printed, kept beside the file, and
    held from then on.

    :raises WeightsError: when it cannot be had, or its hash is another.
    """
    if spec.resource is not None:
        return _resource(spec, spec.resource)
    assert spec.url is not None
    path = cached_path(spec)
    damaged = path.exists()
    if damaged and (_expected(spec, path) or _remember(spec, path)) == sha256(path):
        return path
    if offline():
        what = "are damaged in the cache" if damaged else "are not in the cache"
        raise WeightsError(
            f"weights '{spec.name}' {what} ({path}) and the offline mode forbids fetching them: "
            f"unset MAMBA_OFFLINE, or put the file of {spec.url} there"
        )
    _fetch(spec, path, progress)
    return path


def cached_path(spec: WeightsSpec) -> Path:
    """Where the download of weights is kept, whether it is there or not."""
    assert spec.url is not None
    name = PurePosixPath(urllib.parse.urlsplit(spec.url).path).name or "weights"
    of_address = hashlib.sha256(spec.url.encode()).hexdigest()
    folder = spec.sha256[:16] if spec.sha256 else f"unknown-{of_address[:8]}"
    return cache_folder() / "weights" / folder / name


def _expected(spec: WeightsSpec, path: Path) -> str | None:
    """The hash of the record, else the one remembered at the first download."""
    if spec.sha256 is not None:
        return spec.sha256
    beside = _beside(path)
    return beside.read_text(encoding="ascii").strip() if beside.is_file() else None


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _remember(spec: WeightsSpec, path: Path) -> str:
    """Keep and print the hash of a file whose publisher gives none."""
    found = sha256(path)
    _beside(path).write_text(found + "\n", encoding="ascii")
    print(
        f"weights '{spec.name}': nobody published the hash of {spec.url}; this file has sha256 "
        f"{found}, and every later one must have it",
        file=sys.stderr,
        flush=True,
    )
    return found


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _resource(spec: WeightsSpec, resource: str) -> Path:
    package, _, inner = resource.partition(":")
    try:
        path = Path(str(resources.files(package))) / inner
    except ImportError as error:
        raise WeightsError(f"weights '{spec.name}': {error}; reinstall {package}") from error
    if not path.is_file():
        raise WeightsError(f"weights '{spec.name}': {package} holds no file {inner}; reinstall it")
    _check(spec, path, spec.sha256, "reinstall the package")
    return path


def _check(spec: WeightsSpec, path: Path, expected: str | None, way_out: str) -> None:
    found = sha256(path)
    if expected is not None and found != expected:
        raise WeightsError(
            f"weights '{spec.name}': {path} has sha256 {found[:16]}..., expected "
            f"{expected[:16]}...: the file is damaged or another; {way_out}"
        )


def _fetch(spec: WeightsSpec, path: Path, progress: Progress | None) -> None:
    """Download beside the target, continue what an earlier try left, check, then rename."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock")):
            expected = _expected(spec, path)
            if path.exists() and sha256(path) == expected:
                return  # another process was quicker
            _download(spec, part, progress)
            try:
                _check(spec, part, expected, "try again")
            except WeightsError:
                part.unlink()
                raise
            part.replace(path)
            if expected is None:
                _remember(spec, path)
    except OSError as error:
        raise WeightsError(
            f"weights '{spec.name}': {path.parent} cannot be written ({error}); "
            "set MAMBA_CACHE to a folder that can"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time download a file; the system frees the lock of one that dies."""
    with path.open("w") as file:
        try:
            import fcntl
        except ImportError:  # Windows: two processes at once may have to try again
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(spec: WeightsSpec, part: Path, progress: Progress | None) -> None:
    """Append to ``part`` what it lacks.

    :raises WeightsError: for a network or server that fails; ``part`` keeps what came.
    :raises OSError: when ``part`` cannot be written.
    """
    have = part.stat().st_size if part.exists() else 0
    if spec.size is not None and have >= spec.size:
        return
    try:
        response = _open(spec, have)
    except urllib.error.HTTPError as error:
        if have and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing lies behind what is here: it is whole, or the hash will tell
        raise _unreachable(spec, f"the server says {error.code} {error.reason}") from error
    with response:
        if have and not _continues(response, have):
            have = 0  # the server began again
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else spec.size
        if total is None and spec.sha256 is None:
            raise _unreachable(spec, "neither its length nor its hash is known")
        with part.open("ab" if have else "wb") as file:
            while block := _read(spec, response):
                file.write(block)
                have += len(block)
                if progress:
                    progress(have, total)
    if total is not None and have < total:
        raise _unreachable(spec, f"the connection broke off after {have} of {total} bytes")


def _continues(response: http.client.HTTPResponse, have: int) -> bool:
    """Whether an answer begins where ours ends; servers may ignore the wish for a part."""
    start = (response.headers.get("Content-Range") or "").removeprefix("bytes ").split("-")[0]
    return response.status == http.client.PARTIAL_CONTENT and start == str(have)


def _open(spec: WeightsSpec, have: int) -> http.client.HTTPResponse:
    assert spec.url is not None
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        request = urllib.request.Request(spec.url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(spec, _reason(error)) from error
    return response


def _read(spec: WeightsSpec, response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(spec, _reason(error)) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__


def _unreachable(spec: WeightsSpec, why: str) -> WeightsError:
    return WeightsError(
        f"weights '{spec.name}': {spec.url} cannot be fetched ({why}). Try again: what came so "
        f"far is kept; or put the file there by hand: {cached_path(spec)}"
    )
