"""How faces are evaluated."""
