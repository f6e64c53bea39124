"""``python -m bakehouse.cli``."""

from bakehouse.cli.main import main

main()
