"""One process or many, CPU or GPU: what the Trainer is told, and what is refused before."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from mamba_core.training.config import TrainConfig
from mamba_core.training.errors import TrainingError


def world_size() -> int:
    """Return the number of processes that ``torchrun`` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process writes the results."""
    return os.environ.get("RANK", "0") == "0"


def disconnect_at_exit() -> None:
    """Close the connections to the other processes, where there are any, when Python ends.

    Lightning does so for NCCL alone. gloo's threads that still run then abort the process now and
    then, after all its work is done.
    """
    if torch.distributed.is_initialized():
        atexit.register(_disconnect)


def _disconnect() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def trainer_arguments(config: TrainConfig) -> dict[str, Any]:
    """Return the Trainer's arguments about devices, processes and precision.

    :raises TrainingError: for a GPU where there is none, more processes than GPUs, or sharding
        over a single process.
    """
    world = world_size()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return {
        "accelerator": _accelerator(config, local),
        "devices": local,
        "num_nodes": world // local,
        "strategy": _strategy(config, world),
        "precision": "bf16-mixed" if config.precision == "bf16" else "32-true",
    }


def _accelerator(config: TrainConfig, local: int) -> str:
    gpus = torch.cuda.device_count()
    if config.device == "gpu" and not gpus:
        raise TrainingError(
            "device='gpu', but torch sees no GPU here: use device='cpu', or see "
            "`mamba-core doctor` for why"
        )
    accelerator = "cpu" if config.device == "cpu" or not gpus else "gpu"
    if accelerator == "gpu" and local > gpus:
        raise TrainingError(
            f"{local} processes on this machine, but {gpus} GPUs: start torchrun with "
            f"--nproc-per-node {gpus}"
        )
    return accelerator


def _strategy(config: TrainConfig, world: int) -> Any:
    if config.strategy == "fsdp":
        if "RANK" not in os.environ:
            raise TrainingError(
                "strategy='fsdp' shards the model over processes, and this is one: start the same "
                "command with torchrun --nproc-per-node N"
            )
        return ModelParallelStrategy(
            data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return "ddp" if world > 1 else "auto"


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Apply FSDP2: every element of an outermost ModuleList is a unit, the rest is one more."""
    data = mesh["data_parallel"]
    for layer in _layers(network):
        fully_shard(layer, mesh=data)
    fully_shard(network, mesh=data)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from (layer for layer in child if next(layer.parameters(), None) is not None)
        else:
            yield from _layers(child)


def whole_state(network: nn.Module) -> Mapping[str, Any]:
    """Return a sharded model's state on the CPU; every process must call it, the first gets it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(network, options=options)
