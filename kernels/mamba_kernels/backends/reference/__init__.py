"""The meaning of every op: plain PyTorch, one step of time after another, exact in float64."""
