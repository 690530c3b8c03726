"""Ops: selective scans and their relatives."""
