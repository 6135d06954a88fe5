"""What becomes of probabilities before they are handed in, learned on OOF and proved on folds left out."""
