"""The commands of the core: names, modules and help lines; plugins bring others."""

from __future__ import annotations

COMMANDS = {
    "list": ("mamba_core.cli.list", "Show the installed tasks, mixers or scan orders."),
    "info": ("mamba_core.cli.info", "Show one task: card, inputs, outputs, fields, presets."),
    "plugins": ("mamba_core.cli.plugins", "Show the installed plugins, broken ones included."),
    "doctor": ("mamba_core.cli.doctor", "Look for problems here and say how to fix each."),
    "train": ("mamba_core.cli.train", "Train a task."),
    "eval": ("mamba_core.cli.eval", "Measure a trained model on a task's data."),
    "predict": ("mamba_core.cli.predict", "Run a trained model on files."),
    "export": ("mamba_core.cli.export", "Write a model as a torch.export program or as ONNX."),
    "bench": ("mamba_core.cli.bench", "Measure speed on this machine."),
    "scan-order": ("mamba_core.cli.scan_order", "Show scan orders, or check one of your own."),
    "check": ("mamba_core.cli.check", "Run the conformance checks of a task or a plugin."),
    "new-plugin": ("mamba_core.cli.new_plugin", "Write a new plugin, with tests that pass."),
}
"""Command -> (module, help). Each module has ``app(arguments) -> typer.Typer``."""
