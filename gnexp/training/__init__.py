"""One training: its computation, and what it shows in TensorBoard and in the terminal."""
