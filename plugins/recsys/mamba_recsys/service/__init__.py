"""Recommendations over HTTP: ``mamba-core serve``."""
