"""``video-cls``: what a clip shows."""
