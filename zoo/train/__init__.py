"""Training: data, augmentation, engine, checkpoints, packing."""
