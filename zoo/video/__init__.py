"""Video: architectures, data sets and metrics of clips."""
