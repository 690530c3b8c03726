"""Tagging: what is heard in a recording."""
