"""Weights: package files and downloads, from a server on this machine, bounded in time."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import socket
import threading
from pathlib import Path

import pytest

from mamba_registry import WeightsSpec, weights
from mamba_registry.errors import WeightsError
from mamba_registry.weights import cache_folder, cached_path, resolve_weights

CONTENT = bytes(range(256)) * 40
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, the way ``server.mode`` says."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        mode = self.server.mode
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if mode == "missing":
            return self.send_error(404)
        if mode == "silent":
            self.server.stop.wait(5)
            return None
        if mode == "ignores-range":
            asked, start = None, 0
        if start >= len(CONTENT):
            return self.send_error(416)
        body = CONTENT[start:]
        self.send_response(206 if asked else 200)
        if asked:
            told = start + 1 if mode == "other-range" else start
            self.send_header("Content-Range", f"bytes {told}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if mode != "no-length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mode == "other":
            body = b"x" * len(body)
        self.wfile.write(body[: len(body) // 2] if mode == "cut" else body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(weights, "_TIMEOUT", 1.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.mode, served.asked, served.stop = "normal", [], threading.Event()
        served.daemon_threads = True
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        served.stop.set()
        served.shutdown()
        thread.join(5)


@pytest.fixture
def spec(server):
    url = f"http://127.0.0.1:{server.server_port}/folder/w.safetensors?download=true"
    return WeightsSpec(
        name="w", preset="tiny", url=url, sha256=SHA, size=len(CONTENT), licence="none"
    )


def part(spec):
    path = cached_path(spec)
    path.parent.mkdir(parents=True)
    return path.with_name(path.name + ".part")


def files():
    """What is kept; the lock is no content."""
    kept = [path for path in cache_folder().rglob("*") if path.is_file()]
    return sorted(path.name for path in kept if path.suffix != ".lock")


def fails(spec, *texts):
    with pytest.raises(WeightsError) as caught:
        resolve_weights(spec)
    for text in texts:
        assert text in str(caught.value)


def test_fetched_once_then_kept(spec, server):
    seen = []
    path = resolve_weights(spec, lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert path.name == "w.safetensors"
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    server.mode = "missing"
    assert resolve_weights(spec) == path
    assert server.asked == [None]
    assert files() == ["w.safetensors"]


@pytest.fixture
def unknown(spec):
    """An address whose publisher gives no hash."""
    return dataclasses.replace(spec, sha256=None, size=None)


def test_an_unknown_hash_is_printed_once_and_held(unknown, server, capsys):
    path = resolve_weights(unknown)
    assert path.read_bytes() == CONTENT
    assert SHA in capsys.readouterr().err
    server.mode = "missing"
    assert resolve_weights(unknown) == path
    assert capsys.readouterr().err == ""
    assert files() == ["w.safetensors", "w.safetensors.sha256"]
    path.write_bytes(b"damaged")
    server.mode = "other"
    fails(unknown, "has sha256", f"expected {SHA[:16]}")
    server.mode = "normal"
    assert resolve_weights(unknown).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_held_too(unknown, server, capsys):
    path = cached_path(unknown)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    assert resolve_weights(unknown) == path
    assert hashlib.sha256(b"by hand").hexdigest() in capsys.readouterr().err
    assert server.asked == []


def test_without_hash_and_length_nothing_is_taken(unknown, server):
    server.mode = "no-length"
    fails(unknown, "neither its length nor its hash is known")


def test_an_interrupted_download_goes_on(spec, server):
    part(spec).write_bytes(CONTENT[:1000])
    seen = []
    assert resolve_weights(spec, lambda *step: seen.append(step)).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("mode", ["ignores-range", "other-range", "no-length"])
def test_servers_that_answer_otherwise(spec, server, mode):
    server.mode = mode
    part(spec).write_bytes(b"y" * 100 if mode == "ignores-range" else CONTENT[:100])
    if mode == "other-range":  # begins elsewhere than it was asked to: what comes is no use
        fails(spec, "has sha256")
        server.mode = "normal"
    assert resolve_weights(spec).read_bytes() == CONTENT


def test_a_cut_connection_keeps_what_came(spec, server):
    server.mode = "cut"
    fails(spec, "cannot be fetched (the connection broke off after 5120 of 10240 bytes)", "Try aga")
    assert files() == ["w.safetensors.part"]
    server.mode = "normal"
    assert resolve_weights(spec).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=5120-"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_whole_part_is_taken_as_it_is(spec, server, size):
    spec = dataclasses.replace(spec, size=size)
    part(spec).write_bytes(CONTENT)
    assert resolve_weights(spec).read_bytes() == CONTENT
    assert server.asked == ([] if size else [f"bytes={len(CONTENT)}-"])


def test_another_file_is_refused_and_forgotten(spec, server):
    server.mode = "other"
    fails(spec, "has sha256", f"expected {SHA[:16]}", "damaged or another", "try again")
    assert files() == []


def test_a_damaged_cache_is_fetched_again(spec):
    path = resolve_weights(spec)
    path.write_bytes(CONTENT[:-1])
    assert resolve_weights(spec).read_bytes() == CONTENT


def test_a_server_without_the_file(spec, server):
    server.mode = "missing"
    fails(spec, spec.url, "the server says 404 Not Found", f"by hand: {cached_path(spec)}")


def test_a_server_that_does_not_answer(spec, server):
    server.mode = "silent"
    fails(spec, "cannot be fetched (timed out)")


def test_nobody_listens(spec, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = spec.url.replace(str(server.server_port), str(port))
    fails(dataclasses.replace(spec, url=url), "cannot be fetched", "efused")


@pytest.mark.parametrize("variable", ["MAMBA_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(spec, server, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    fails(spec, "are not in the cache", str(cached_path(spec)), "unset MAMBA_OFFLINE", spec.url)
    assert server.asked == []
    monkeypatch.setenv(variable, "0")
    path = resolve_weights(spec)
    monkeypatch.setenv(variable, "yes")
    assert resolve_weights(spec) == path
    path.write_bytes(b"half")
    fails(spec, "are damaged in the cache")


def test_a_cache_that_cannot_be_written(spec, server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MAMBA_CACHE", str(tmp_path / "file"))
    fails(spec, "cannot be written", "set MAMBA_CACHE to a folder that can")
    assert server.asked == []


def test_a_full_disk(spec, monkeypatch):
    real = Path.open

    def opened(path, *args, **kwargs):
        if path.suffix == ".part":
            raise OSError(28, "No space left on device")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    fails(spec, "cannot be written", "No space left", "MAMBA_CACHE")


def test_two_at_once_fetch_it_once(spec, server):
    threads = [threading.Thread(target=resolve_weights, args=(spec,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert cached_path(spec).read_bytes() == CONTENT
    assert server.asked == [None]


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAMBA_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("MAMBA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mamba-core"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "mamba-core"


def resource(text, sha=SHA):
    return WeightsSpec(name="w", preset="tiny", resource=text, sha256=sha, licence="none")


def test_package_files(install, tmp_path):
    install("", "files")
    folder = tmp_path / "site" / "acme_data"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "w.safetensors").write_bytes(CONTENT)
    assert resolve_weights(resource("acme_data:w.safetensors")) == folder / "w.safetensors"
    fails(resource("acme_data:v.safetensors"), "acme_data holds no file v.safetensors; reinstall")
    fails(resource("acme_data:w.safetensors", "0" * 64), "reinstall the package")
    fails(resource("acme_nowhere:w.safetensors"), "acme_nowhere", "reinstall")
