"""Ask the real services what the machinery assumes of them."""
