"""``python -m annotator.cli``: the command line without its installed script."""

from annotator.cli.app import main

main()
