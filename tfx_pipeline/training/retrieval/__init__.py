"""Training of the stage before ranking: two towers against the whole catalogue."""
