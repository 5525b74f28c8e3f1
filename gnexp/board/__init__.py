"""The tab "Sweeps" of TensorBoard, and the same page as one HTML file."""
