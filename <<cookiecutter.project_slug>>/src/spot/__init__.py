"""The supervisor: starts runs on Vertex AI and brings them to their end. Never imports torch."""
