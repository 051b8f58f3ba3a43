"""Content of the items: catalogue and precomputed embeddings to one table, and that table as files."""
