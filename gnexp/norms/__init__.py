"""The normalization layers that gnexp compares, by name, and the C++ kernel that computes them."""
