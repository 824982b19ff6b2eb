"""Evidence that holds at every look: e-processes, confidence sequences, their boundaries."""
