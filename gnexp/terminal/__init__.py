"""The command line: flags, errors, exit codes, and values as text. Nothing here imports TensorFlow."""
