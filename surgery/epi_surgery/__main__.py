"""`python -m epi_surgery`, the same as the command `epi-surgery`."""

from epi_surgery.cli import main

main()
