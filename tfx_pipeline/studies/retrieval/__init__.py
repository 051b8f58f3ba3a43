"""`dmf retrieval`: how well items are found before they are ranked."""
