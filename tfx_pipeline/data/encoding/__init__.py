"""From the catalogue's text to the file of vectors that a modality reads."""
