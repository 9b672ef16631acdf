"""A data set of 40 shards in a bucket, read through a cache that holds a few of them."""
