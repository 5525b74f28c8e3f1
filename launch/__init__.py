"""The launchers under their former names: `python -m launch.slurm`, `python -m launch.kuberay`."""
