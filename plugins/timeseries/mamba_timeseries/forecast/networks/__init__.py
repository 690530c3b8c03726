"""The networks of ``ts-forecast``: normalised windows in, values per step and channel out."""
