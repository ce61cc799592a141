"""``python -m annotator.cli``: the command line without its installed script."""

from annotator.cli.app import main

if __name__ == "__main__":  # a process that is started for one task imports this module as well
    main()
