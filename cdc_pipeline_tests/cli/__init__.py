"""The command line, run in this process through `main`, and once as the installed script."""
