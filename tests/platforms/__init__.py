"""What the platforms where competitors work ship: a list of packages each, and the everyday tests on them."""
