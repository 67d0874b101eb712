"""`python -m medlib` is the `medlib` command."""

from medlib.cli import main

main()
