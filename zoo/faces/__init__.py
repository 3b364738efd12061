"""Faces: generative adversarial networks whose samples are images."""
