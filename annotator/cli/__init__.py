"""The command line: one file per noun, no logic."""

from annotator.cli.app import main

__all__ = ["main"]
