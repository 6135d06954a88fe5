"""Whether a file may be handed in, wherever it comes from: every problem at once, and no false alarm."""
