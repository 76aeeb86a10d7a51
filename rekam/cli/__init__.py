"""`rekam <noun> <verb>`: the one place that knows all commands."""

from rekam.cli.root import main

__all__ = ["main"]
