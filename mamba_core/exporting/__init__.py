"""Trained models as files for other runtimes."""

from __future__ import annotations

from mamba_core.exporting.write import TOLERANCE, ExportError, ExportResult, export, export_model

__all__ = ["TOLERANCE", "ExportError", "ExportResult", "export", "export_model"]
