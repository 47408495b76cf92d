"""What people write and read objects through, a piece at a time."""
