"""The metrics of more than one modality, one in each file."""
