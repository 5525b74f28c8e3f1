"""One training: its computation, its workdir, and what it shows in TensorBoard and in the terminal."""
