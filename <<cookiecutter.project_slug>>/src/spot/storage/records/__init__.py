"""Read and write the records in the bucket."""
