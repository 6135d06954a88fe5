"""A competition folder becomes tables of samples."""
