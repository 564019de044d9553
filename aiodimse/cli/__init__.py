"""The command line: one file per command, beside what they share.

A command is a module with HELP, arguments(parser) and `async def run(options, output) -> int`, whose result is the exit
status: 0 only where the final status is Success, or all stores succeeded. main.py has the table of them.
"""
