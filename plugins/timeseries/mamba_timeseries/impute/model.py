"""A network that fills what is hidden in a window, from both sides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MultiScanConfig
from mamba_timeseries.forecast.normalise import window_scale
from mamba_timeseries.impute.config import ReconstructorConfig


class Reconstructor(nn.Module):
    """Token per step of values and mask, backbone along time, linear head; scale in and out.

    :param config: see :class:`~mamba_timeseries.impute.config.ReconstructorConfig`.
    """

    def __init__(self, config: ReconstructorConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(2 * config.channels, config.d_model)
        scan = MultiScanConfig(scan_order=config.scan_order, merge=config.merge)
        self.backbone = Backbone(
            BackboneConfig(
                d_model=config.d_model, pattern="M-" * config.depth, mixer=config.mixer, scan=scan
            )
        )
        self.head = nn.Linear(config.d_model, config.channels)

    def forward(self, values: Tensor, observed: Tensor) -> dict[str, Tensor]:
        """Reconstruct every step.

        :param values: float ``(batch, size, channels)``, any finite value where not observed.
        :param observed: bool, like ``values``.
        :returns: ``filled`` like ``values``: what is observed as it is, the rest reconstructed.
        :raises ValueError: for another number of channels.
        """
        return {"filled": torch.where(observed, values, self.reconstruct(values, observed))}

    def reconstruct(self, values: Tensor, observed: Tensor) -> Tensor:
        """Return the network's own values of all steps, ``(batch, size, channels)``."""
        if values.dim() != 3 or values.shape[-1] != self.config.channels:
            raise ValueError(
                f"values has shape {tuple(values.shape)}, expected (batch, size, channels = "
                f"{self.config.channels})"
            )
        center, scale = window_scale(values, observed)
        z = torch.where(observed, (values - center) / scale, 0)
        x = self.embedding(torch.cat([z, observed.to(z)], dim=-1))
        return self.head(self.backbone(x)) * scale + center


def example(
    config: ReconstructorConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return windows of noisy waves, a quarter of the steps hidden.

    :returns: ``values``, ``observed``, and ``truth`` and ``hidden`` of the same shape.
    """
    shape = (batch_size, config.size, config.channels)
    time = torch.arange(config.size)[None, :, None]
    phase = torch.rand(batch_size, 1, config.channels, generator=generator)
    truth = torch.sin(6.2832 * (time / 12 + phase)) + 0.1 * torch.randn(shape, generator=generator)
    hidden = torch.rand(shape, generator=generator) < 0.25
    batch = {
        "values": torch.where(hidden, 0, truth),
        "observed": ~hidden,
        "truth": truth,
        "hidden": hidden,
    }
    return {name: value.to(device) for name, value in batch.items()}
