"""TensorBoard's files, written without TensorFlow."""
