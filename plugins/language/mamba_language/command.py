"""``mamba-core generate TARGET PROMPT``: a text appears as it is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A saved model's or a training's folder.")
    ],
    prompt: Annotated[str, typer.Argument(help="Where the text begins.")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest continuation.")] = 256,
    temperature: Annotated[float, typer.Option(help="Below 1 prefers what is probable.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="How many tokens may be drawn.")] = None,
    top_p: Annotated[float, typer.Option(help="Share of the probability drawn from.")] = 0.95,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Always the most probable token.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ...")] = None,
) -> None:
    """Continue a prompt with a trained language model."""
    from mamba_core import registry
    from mamba_core.pretrained import model_folder, read_config

    folder = model_folder(Path(target))
    generator = registry.predictor(
        read_config(folder)["task"],
        weights=folder,
        device=device,
        max_tokens=max_tokens,
        greedy=greedy,
        sampling={"temperature": temperature, "top_k": top_k, "top_p": top_p},
        seed=seed,
    )
    if not hasattr(generator, "stream"):
        raise typer.BadParameter(f"{target} holds no language model")
    sys.stdout.write(prompt)
    for piece in generator.stream(prompt):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
