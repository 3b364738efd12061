"""How scores and sounds are evaluated."""
