"""Who is compared: units of a stage, and those who were there before it."""
