"""The text wing: generative adversarial networks whose samples are rows of tokens."""
