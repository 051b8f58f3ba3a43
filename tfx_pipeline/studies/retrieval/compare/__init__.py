"""`dmf retrieval compare`: towers with several seeds, baselines, and how they differ."""
