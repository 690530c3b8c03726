"""``vision-seg``: what each pixel of an image shows."""
