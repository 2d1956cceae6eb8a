"""Evaluation: ranks and what is derived from them."""
