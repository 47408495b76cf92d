"""Stores of local files."""
