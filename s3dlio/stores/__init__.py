"""The stores: one contract (`base`), one module or package for each scheme, found by `registry`."""
