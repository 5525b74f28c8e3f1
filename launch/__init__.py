"""Sends a training or a sweep to a cluster: `python -m launch.slurm` and `python -m launch.kuberay`."""
