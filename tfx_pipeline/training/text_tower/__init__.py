"""A text encoder that is trained from nothing, on the catalogue alone."""
