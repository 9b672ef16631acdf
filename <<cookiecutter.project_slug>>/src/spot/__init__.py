"""Retrain PyTorch models on Spot VMs of Vertex AI."""
