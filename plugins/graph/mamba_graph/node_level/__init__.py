"""``graph-node``: one answer per node."""
