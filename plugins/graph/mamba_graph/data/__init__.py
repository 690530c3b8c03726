"""Graphs of any origin as PyG ``Data``: read, checked, encoded, put together."""
