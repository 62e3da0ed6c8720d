"""``python -m orlop.cli``."""

from orlop.cli.main import main

main()
