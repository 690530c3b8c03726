"""The progress bar of a training on a terminal."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import RichProgressBar

from mamba_core.training.bookkeeping import Bookkeeper


class TrainingBar(RichProgressBar):
    """Lightning's bar with the loss beside it.

    :param book: knows the loss of the last line of the log.
    """

    def __init__(self, book: Bookkeeper) -> None:
        super().__init__()
        self.book = book

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
        """Return what stands beside the bar: little, or a narrow terminal needs two lines."""
        return {} if self.book.loss is None else {"loss": f"{self.book.loss:.4g}"}

    def _get_train_description(self, current_epoch: int) -> str:
        """Without the number of epochs: the steps decide, Lightning would say "/-2"."""
        return f"{f'Epoch {current_epoch}':{len(self.validation_description)}}"
