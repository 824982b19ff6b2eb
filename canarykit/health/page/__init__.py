"""A report as a page of its own: the first screen, what is folded beneath, and a release as a timeline."""
