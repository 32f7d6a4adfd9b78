"""Run the command line as `python -m voxstack`."""

from voxstack.cli.main import main

main()
