"""Data sets of texts, and their vocabularies."""
