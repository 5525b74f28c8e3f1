"""Sends a training or a sweep to a cluster: `python -m gnexp.launch.slurm` and `python -m gnexp.launch.kuberay`."""
