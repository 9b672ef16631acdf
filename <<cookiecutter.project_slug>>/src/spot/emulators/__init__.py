"""Vertex AI and Cloud Storage on loopback."""
