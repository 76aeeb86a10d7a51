"""`python -m rekam` is `rekam`."""

from rekam.cli import main

if __name__ == "__main__":
    main()
