"""What a file to hand in looks like, and how answers become one and are read back."""
