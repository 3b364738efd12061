"""The wing of music: scores, which are notes, and sounds, which are waves."""
