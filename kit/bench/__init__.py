"""How quick a config is here, what holds it up, and which setting would help."""
