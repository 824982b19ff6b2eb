"""The lines of a report: each check with its status, its numbers and its words."""
