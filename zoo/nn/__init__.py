"""Layers that more than one architecture uses, and nothing else."""
