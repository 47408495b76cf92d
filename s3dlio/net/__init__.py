"""The one HTTP layer that the cloud stores share: exchanges without I/O, two drivers, pooled connections."""
