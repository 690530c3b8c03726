"""Next-token prediction: model, generation, data, checkpoints of others."""
