"""Train on many ranks: a process for each GPU, on one machine or on several."""
