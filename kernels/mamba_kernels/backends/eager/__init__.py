"""The fallback everywhere: PyTorch operations on blocks of time, linear in length."""
