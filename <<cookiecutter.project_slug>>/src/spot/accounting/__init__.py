"""Compute what runs cost and where their time went."""
