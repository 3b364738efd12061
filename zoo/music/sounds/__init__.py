"""Waves: sounds, and the GANs that make them."""
