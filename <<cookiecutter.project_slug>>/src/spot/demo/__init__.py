"""`spot rehearse`: a whole run on this machine."""
