"""The way of the data: logs to clean rows, rows to examples of requests, catalogue and embeddings to content."""
