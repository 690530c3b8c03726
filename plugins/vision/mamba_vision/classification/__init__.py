"""``vision-cls``: what an image shows."""
