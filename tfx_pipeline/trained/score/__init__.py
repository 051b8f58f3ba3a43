"""`dmf score`: a whole log of requests, scored by an exported model."""
