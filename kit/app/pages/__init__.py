"""The pages of the web app; each file has a function ``show``."""
