"""Compute what runs cost and where their time went, as pure functions of the records."""
