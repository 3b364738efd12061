"""How texts are evaluated."""
