"""The version, in its one place: packaging reads this file without importing the package."""

__version__ = "0.11.0"
