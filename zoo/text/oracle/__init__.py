"""The synthetic benchmark of text GANs: an oracle that knows the likelihood of every text."""
