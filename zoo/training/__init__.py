"""The training engine: losses, phases and the one loop that plays every game of the house."""
