"""Training: losses, phases, and one loop that runs the phases of any GAN."""
