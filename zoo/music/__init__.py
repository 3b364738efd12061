"""Music: scores, which are notes, and sounds, which are waves."""
