"""The command line: one click command a verb, each a thin layer over what a notebook would call."""
