"""How clips are evaluated."""
