"""A model in use: as one file for other programs, and on images."""
