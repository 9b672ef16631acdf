"""Store objects in a bucket or a directory, and name them."""
