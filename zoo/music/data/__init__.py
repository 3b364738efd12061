"""Scores and sounds to train on."""
