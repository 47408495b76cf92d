"""Checkpoints: what a training run saves and finds again."""
