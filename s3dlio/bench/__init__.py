"""Benchmarks of a store, as ``s3-cli bench`` runs them: prepare, warm up, measure, clean up."""
