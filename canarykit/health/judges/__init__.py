"""One judge per kind of stage: targeted, percentage, full."""
