"""Settings: what they are, where they come from, and how their values are parsed."""
