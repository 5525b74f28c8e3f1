"""Where things lie: the names in a workdir, atomic writes, the lock, checkpoints and results."""
