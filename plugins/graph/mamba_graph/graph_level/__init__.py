"""``graph-cls`` and ``graph-reg``: one answer per graph."""
