"""What the trainer and the supervisor share: object stores, the bucket's layout, manifests and markers.

Imports neither torch nor Vertex AI.
"""
