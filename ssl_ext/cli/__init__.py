"""Command-line programs.

Each parses its arguments and checks paths before it imports torch and the function behind the command.
"""
