"""Renderers of the data sets that this library makes itself."""
