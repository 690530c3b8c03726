"""From a weights record to a file on disk: in the package, in the cache, or fetched into it."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib import resources
from pathlib import Path

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
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mamba-core"


def offline() -> bool:
    """Whether ``MAMBA_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network."""
    for name in ("MAMBA_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off"):
            return True
    return False


def resolve_weights(spec: WeightsSpec, progress: Progress | None = None) -> Path:
    """Return the path of a file with exactly the recorded content.

    :raises WeightsError: when it cannot be had, or its hash is another.
    """
    if spec.resource is not None:
        return _resource(spec, spec.resource)
    assert spec.url is not None
    path = cache_folder() / "weights" / spec.sha256[:16] / Path(spec.url).name
    if path.exists() and sha256(path) == spec.sha256:
        return path
    if offline():
        raise WeightsError(
            f"weights '{spec.name}' are not in the cache ({path}) and the offline mode forbids "
            f"fetching them: unset MAMBA_OFFLINE, or put the file of {spec.url} there"
        )
    _fetch(spec, spec.url, path, progress)
    return path


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _resource(spec: WeightsSpec, resource: str) -> Path:
    package, _, inner = resource.partition(":")
    path = Path(str(resources.files(package))) / inner
    if not path.is_file():
        raise WeightsError(f"weights '{spec.name}': {package} holds no file {inner}; reinstall it")
    _check(spec, path, "reinstall the package")
    return path


def _check(spec: WeightsSpec, path: Path, way_out: str) -> None:
    found = sha256(path)
    if found != spec.sha256:
        raise WeightsError(
            f"weights '{spec.name}': {path} has sha256 {found[:16]}..., expected "
            f"{spec.sha256[:16]}...: the file is damaged or another; {way_out}"
        )


def _fetch(spec: WeightsSpec, url: str, path: Path, progress: Progress | None) -> None:
    """Download beside the target, continue what an earlier try left, check, then rename."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(spec, url, part, progress)
    except urllib.error.URLError as error:
        raise WeightsError(
            f"weights '{spec.name}': {url} cannot be fetched ({error.reason}); what came so far "
            "is kept and a new try continues it"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"weights '{spec.name}': {path.parent} cannot be written ({error}); "
            "set MAMBA_CACHE to a folder that can"
        ) from error
    try:
        _check(spec, part, "try again")
    except WeightsError:
        part.unlink()
        raise
    part.replace(path)


def _download(spec: WeightsSpec, url: str, part: Path, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    if spec.size is not None and have >= spec.size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        if have and response.status != 206:  # the server began again
            have = 0
        with part.open("ab" if have else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                have += len(block)
                if progress:
                    progress(have, spec.size)
