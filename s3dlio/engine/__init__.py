"""What runs calls: batches, threads, cancellation, prefetching."""
