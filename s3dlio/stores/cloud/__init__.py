"""What the stores of the three clouds share."""
