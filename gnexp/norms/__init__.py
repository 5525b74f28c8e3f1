"""What is compared: the normalization layers by name, and the C++ kernel that computes them."""
