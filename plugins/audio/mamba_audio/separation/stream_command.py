"""``mamba-core audio-stream``: voices apart while the sound comes in on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from mamba_core.cli.errors import CommandError

Array = NDArray[np.float32]


class Input(StrEnum):
    """What comes in."""

    wav = "wav"
    s16le = "s16le"
    f32le = "f32le"


_RAW = {Input.s16le: ("<i2", 1 / 32768), Input.f32le: ("<f4", 1.0)}


def run(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A saved causal model's folder, or weights.")
    ],
    out: Annotated[
        str, typer.Option(help="Folder for one wav file per voice; - is raw f32le on stdout.")
    ],
    format: Annotated[Input, typer.Option(help="What comes in on standard input.")] = Input.wav,
    rate: Annotated[
        int | None, typer.Option(help="Sample rate in Hz of raw input; the model's when absent.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Of raw input; averaged.")] = 1,
    block: Annotated[float, typer.Option(min=0.001, help="Seconds read at once.")] = 0.02,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Separate sound from standard input with a causal model, in constant memory.

    For instance: arecord -t raw -f S16_LE -r 8000 | mamba-core audio-stream MODEL --out DIR
    --format s16le --rate 8000. With --out - the voices come interleaved, at the model's rate.
    """
    from mamba_audio.files.resample import check_rate
    from mamba_audio.separation.streaming import SeparatorStream
    from mamba_core import registry
    from mamba_core.device import choose_device

    built: Any = registry.build("audio-sep", weights=model)
    try:
        stream = SeparatorStream(built.to(choose_device(device)).eval())
    except TypeError as error:
        raise CommandError(f"{model}: {error}") from None
    own = stream.sample_rate
    if format is Input.wav:
        came, blocks = _wav(block)
    else:
        came = rate or own
        check_rate(came)
        blocks = _raw(sys.stdin.buffer, format, channels, max(round(block * came), 1))
    print(
        f"latency {stream.latency / own * 1000:.1f} ms"
        + ("" if came == own else f", more for the conversion from {came} to {own} Hz"),
        file=sys.stderr,
    )
    with ExitStack() as stack:
        write = _writer(stack, out, built.config.sources, own, overwrite)
        for voices in voices_of(blocks, stream, came):
            write(voices)


def voices_of(blocks: Iterator[Array], stream: Any, rate: int) -> Iterator[Array]:
    """Yield the voices of mono blocks at ``rate``, ``(samples, sources)`` at the stream's rate."""
    from mamba_audio.files.resample import Resampler

    convert = Resampler(rate, stream.sample_rate)
    with suppress(KeyboardInterrupt):  # how a live recording ends; what came in is kept
        for block in blocks:
            yield stream.push(torch.from_numpy(convert.push(block[None])[0])).T.numpy()
    yield stream.push(torch.from_numpy(convert.flush()[0])).T.numpy()
    yield stream.flush().T.numpy()


def _wav(seconds: float) -> tuple[int, Iterator[Array]]:
    import soundfile as sf

    try:
        file = sf.SoundFile(sys.stdin.fileno(), closefd=False)
    except sf.LibsndfileError as error:
        raise CommandError(f"standard input is no wav file: {error}; raw needs --format") from None
    size = max(round(seconds * file.samplerate), 1)

    def blocks() -> Iterator[Array]:
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            yield block.mean(1)

    return file.samplerate, blocks()


def _raw(source: BinaryIO, form: Input, channels: int, size: int) -> Iterator[Array]:
    """Read blocks of whole frames; a pipe may give less than asked for."""
    kind, scale = _RAW[form]
    width = np.dtype(kind).itemsize * channels
    rest = b""
    while data := source.read1(size * width):  # type: ignore[attr-defined]
        data = rest + data
        whole = len(data) // width * width
        rest = data[whole:]
        block = np.frombuffer(data[:whole], kind).astype(np.float32) * np.float32(scale)
        yield block.reshape(-1, channels).mean(1)


def _writer(stack: ExitStack, out: str, sources: int, rate: int, overwrite: bool) -> Any:
    if out == "-":

        def to_stdout(voices: Array) -> None:
            sys.stdout.buffer.write(np.ascontiguousarray(voices, "<f4").tobytes())
            sys.stdout.buffer.flush()

        return to_stdout
    from mamba_audio.files.output_files import StemFiles

    targets = [Path(out) / f"s{k + 1}.wav" for k in range(sources)]
    files = stack.enter_context(StemFiles(targets, rate, 1, overwrite=overwrite))

    def to_files(voices: Array) -> None:
        files.write(torch.from_numpy(voices.T.copy())[:, None])

    return to_files
