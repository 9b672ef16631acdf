"""A language model of transformers: tied embeddings, batches that are dicts, the loss in the forward pass."""
