"""See `python -m gnexp.launch.kuberay`."""

from gnexp.launch.kuberay import main

if __name__ == "__main__":
    main()
