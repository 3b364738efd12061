"""The video wing: one file per architecture, the wing's data and metrics."""
