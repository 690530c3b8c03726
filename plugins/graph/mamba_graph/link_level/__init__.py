"""``graph-link``: whether two nodes are joined."""
