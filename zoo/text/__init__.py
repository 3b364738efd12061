"""Text: generative adversarial networks whose samples are rows of tokens."""
