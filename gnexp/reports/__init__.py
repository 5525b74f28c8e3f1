"""Pages of tables and pictures from what `gnexp.analysis` reads."""
