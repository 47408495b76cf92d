"""Many objects at once: what to run and how wide. How a request runs is the business of `net` and `stores`."""
