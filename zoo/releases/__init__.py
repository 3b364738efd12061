"""Releases: loading them, writing them, their cards, publishing them."""
