"""The command line: one file for each command, and the files that the commands share.

A command is a module with HELP, arguments(parser) and `async def run(options, output) -> int`, which returns the exit
status: 0 only if the final status is Success (or, for store, if every file was stored). main.py lists the commands.
"""
