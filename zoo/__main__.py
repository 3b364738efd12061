"""`python -m zoo`, and so `torchrun -m zoo`."""

from zoo.cli import main

main()
