"""Retrieval judged: who finds a request's positives among all items of the catalogue, and what a ranker makes of it."""
