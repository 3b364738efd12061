"""What the models of music return: scores and sounds."""
