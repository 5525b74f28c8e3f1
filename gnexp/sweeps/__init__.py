"""Many trainings: a sweep, its oracles, its executors, and what it shows in TensorBoard and in the terminal."""
