"""``vision-backbone``: maps of an image at several strides, for heads and decoders of your own."""
