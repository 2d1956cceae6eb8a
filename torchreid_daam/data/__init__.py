"""Data: reading, ordering and pairing images of two domains."""
