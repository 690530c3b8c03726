"""Device code. Each file is one computation; the host code beside this folder launches it."""
