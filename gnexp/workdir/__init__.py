"""The workdir: the names of its files, atomic writes, the lock, checkpoints and results."""
