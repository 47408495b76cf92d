"""The command line: ``s3-cli``."""
