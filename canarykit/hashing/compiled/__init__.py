"""Hash families as compiled code: one text after another, side by side in vectors, and their digests."""
