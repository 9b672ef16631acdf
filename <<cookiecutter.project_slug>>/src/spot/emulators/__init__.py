"""Emulate Vertex AI and Cloud Storage on loopback, as far as `spot rehearse` needs them."""
