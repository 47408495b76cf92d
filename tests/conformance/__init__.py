"""Every promise of the store contract, on every store. A store joins by a few lines in `stores.py`."""
