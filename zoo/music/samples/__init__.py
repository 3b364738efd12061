"""Samples of music models: scores and sounds."""
