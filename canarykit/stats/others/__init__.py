"""Other systems' published rules."""
