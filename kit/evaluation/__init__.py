"""Score out-of-fold (OOF) predictions, and find the errors: by class, image, label and view."""
