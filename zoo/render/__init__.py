"""Renderers of the data sets that are made here rather than collected."""
