"""What out-of-fold predictions are worth, and where their errors are."""
