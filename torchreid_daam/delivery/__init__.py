"""What an adapted model is used for."""
