"""Separate while the recording is still going on: push samples, get the voices of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamba_audio.separation.model import Separator


class SeparatorStream:
    """The voices of one recording that arrives piece by piece, by a causal model.

    Pieces may have any length; together the outputs are those of the model on the whole
    recording, sample for sample, however it was cut. Nothing grows with the length.

    :param model: causal, of a network that streams, in eval mode.
    :raises TypeError: for another model.
    """

    def __init__(self, model: Separator) -> None:
        self.model = model
        self.sample_rate = model.config.sample_rate
        self._device = next(model.parameters()).device
        self.reset()

    @torch.inference_mode()
    def reset(self) -> None:
        """Forget the recording so far."""
        self._state = self.model.init_state(1)
        self._rest = torch.zeros(0)
        self._late = self.model.delay  # outputs of before the recording, not handed out
        self._missing = 0

    @property
    def latency(self) -> int:
        """Samples from one that is pushed to the call that returns its estimate, at most.

        This is the algorithm's; the time to compute comes on top.
        """
        return self.model.latency

    @torch.inference_mode()
    def push(self, wave: Tensor) -> Tensor:
        """Continue the recording.

        :param wave: float32 ``(samples,)`` at :attr:`sample_rate`, any number from 0.
        :returns: ``(sources, samples)``, what can be said now: fewer at first, then on average
            as many as were pushed.
        :raises ValueError: for another shape, NaN or infinity; the stream can go on after it.
        """
        if wave.dim() != 1:
            raise ValueError(f"wave has shape {tuple(wave.shape)}, expected (samples,)")
        if not wave.isfinite().all():
            raise ValueError("the block holds NaN or infinity: repair it, or push zeros instead")
        self._missing += len(wave)
        return self._continue(wave)

    def flush(self) -> Tensor:
        """End the recording: return the estimates that are still due, ``(sources, samples)``.

        The stream is then as new, ready for another recording.
        """
        due = self._missing
        silence = torch.zeros(self.model.latency + self.model.config.stride)
        estimates = self._continue(silence)[:, :due]
        self.reset()
        return estimates

    @torch.inference_mode()
    def _continue(self, wave: Tensor) -> Tensor:
        wave = torch.cat([self._rest, wave])
        ready = len(wave) // self.model.config.stride * self.model.config.stride
        self._rest = wave[ready:]
        if not ready:
            return torch.zeros(self.model.config.sources, 0)
        found = torch.cat([self._estimates(block) for block in self._blocks(wave[:ready])], dim=1)
        late = min(self._late, ready)
        self._late -= late
        found = found[:, late:]
        self._missing -= found.shape[-1]
        return found

    def _blocks(self, wave: Tensor) -> Sequence[Tensor]:
        """Long pieces go through bit by bit: memory does not grow with them, nor do caches miss."""
        stride = self.model.config.stride
        return wave.split(max(self.sample_rate // stride, 1) * stride)

    def _estimates(self, block: Tensor) -> Tensor:
        found, self._state = self.model.prefill(block[None].to(self._device), self._state)
        return found[0].float().cpu()
