"""A rehearsal on this machine: local stand-ins for the cloud, real processes, real signals, real clients."""
