"""``rec-session``: the next item of a session of somebody unknown."""
