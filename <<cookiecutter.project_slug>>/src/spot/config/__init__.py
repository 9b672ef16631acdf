"""Read and validate spot.toml."""
