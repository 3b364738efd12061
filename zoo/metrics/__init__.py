"""Distances and scores that more than one modality uses: one file a metric, each from its paper."""
