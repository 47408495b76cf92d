"""What other programs load from here by name. Each needs the program it is for."""
