"""How many people or events a question needs."""
