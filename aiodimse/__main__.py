"""python -m aiodimse: the command line."""

from aiodimse.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
