"""Rehearse a whole run on this machine: `spot rehearse`."""
