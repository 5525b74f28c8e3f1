"""What chooses the trials: keras-tuner's oracles, made durable."""
