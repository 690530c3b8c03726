"""Recordings of any length, rate and number of channels through a model, and back into files."""
