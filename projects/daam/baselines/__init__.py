"""Rivals of the paper, each as its own paper describes it."""
