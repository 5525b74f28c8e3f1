"""The oracles, which choose the trials: those of keras-tuner, made durable."""
