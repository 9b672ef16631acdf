"""Check credentials, quota and configuration."""
