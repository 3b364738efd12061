"""The metrics of faces."""
