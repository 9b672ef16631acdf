"""Object stores, the layout of the bucket and its records."""
