"""The command `zoo`: one file a group of commands. Each command imports only what it needs."""

from zoo.cli.main import main

__all__ = ["main"]
