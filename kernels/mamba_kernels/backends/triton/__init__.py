"""Kernels in Triton for NVIDIA and AMD GPUs; ``kernels/`` holds what runs on the device."""
