"""Where a sweep's trials run."""
