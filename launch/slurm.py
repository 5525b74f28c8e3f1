"""See `python -m gnexp.launch.slurm`."""

from gnexp.launch.slurm import main

if __name__ == "__main__":
    main()
