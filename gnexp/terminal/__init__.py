"""The command line: flags, mistakes, exit codes, and values as text. Nothing here imports TensorFlow."""
