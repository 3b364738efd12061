"""The architectures, one in each file."""
