"""`python -m medlib` is the `medlib` command."""

from medlib.cli import main

if __name__ == "__main__":  # and not in the processes that it starts
    main()
