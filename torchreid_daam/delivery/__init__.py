"""What leaves the lab: a model as one file that other programs run."""
