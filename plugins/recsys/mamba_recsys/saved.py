"""A fitted recommender in a folder: the model, names of items and users, events, settings."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mamba_core.atomic import new_folder
from mamba_core.pretrained import from_pretrained, save_pretrained
from mamba_core.registry import WeightsError
from mamba_recsys.catalogue import Catalogue
from mamba_recsys.encoder import ColumnEncoder
from mamba_recsys.estimator import Estimator, Fitted
from mamba_recsys.interactions import Interactions, Parts
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.readers import Columns

R = TypeVar("R", bound=Estimator)

FORMAT = 1
ABOUT, EVENTS = "recommender.json", "events.npz"


def save(recommender: Estimator, folder: Path) -> Path:
    """Write a recommender; the folder appears whole or not at all.

    :raises FileExistsError: when something else is there.
    """
    fitted = recommender.fitted
    if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise FileExistsError(f"{folder} holds something else: choose another folder")
    data, parts = fitted.data, fitted.parts
    about = {
        "format": FORMAT,
        "key": fitted.key,
        "catalogue": fitted.catalogue.plain(),
        "users": data.users.tolist(),
        "item_columns": fitted.item_columns.plain(),
        "event_columns": fitted.event_columns.plain(),
        "task": recommender.task,
        "settings": recommender.settings(),
    }
    with new_folder(folder) as temporary:
        _save_model(fitted.model, temporary)
        (temporary / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        np.savez(
            temporary / EVENTS,
            items=data.items,
            times=data.times,
            offsets=data.offsets,
            codes=data.codes,
            numbers=data.numbers,
            train_end=parts.train_end,
            val=parts.val,
            test=parts.test,
            offered=fitted.offered,
        )
    return folder


def _save_model(model: NextItemModel, folder: Path) -> None:
    """Put a saved model's files beside the others: one flat folder, replaced as a whole."""
    with tempfile.TemporaryDirectory() as apart:
        save_pretrained(model, Path(apart) / "model")
        for file in (Path(apart) / "model").iterdir():
            shutil.copyfile(file, folder / file.name)


def load(cls: type[R], folder: Path) -> R:
    """Read a recommender.

    :raises WeightsError: for a folder that is none, of a newer format, or of another task.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"{folder} is no saved recommender: it holds no {ABOUT}; give the folder that "
            "Recommender.save wrote"
        ) from None
    if about["format"] != FORMAT:
        raise WeightsError(f"{folder} has format {about['format']}, this reads {FORMAT}")
    made_for = about.get("task", "rec-next")
    if made_for != cls.task:
        raise WeightsError(f"{folder} holds a recommender of {made_for}, this is for {cls.task}")
    settings = about["settings"]
    settings["columns"] = Columns(**settings["columns"])
    recommender = cls(settings.pop("model"), **settings)
    catalogue = Catalogue.of(about["catalogue"])
    held = np.load(folder / EVENTS, allow_pickle=False)
    data = Interactions(
        users=Catalogue.of(about["users"]).ids,
        catalogue=catalogue.ids,
        **{name: held[name] for name in ("items", "times", "offsets", "codes", "numbers")},
    )
    model: Any = from_pretrained(folder)
    recommender._fitted = Fitted(
        model,
        recommender.data_config.max_length,
        catalogue,
        data,
        Parts(held["train_end"], held["val"], held["test"]),
        held["offered"],
        ColumnEncoder.of(about["item_columns"]),
        ColumnEncoder.of(about["event_columns"]),
        key=about["key"],
    )
    return recommender
