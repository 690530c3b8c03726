"""``points-cls``: what a cloud of points is."""
