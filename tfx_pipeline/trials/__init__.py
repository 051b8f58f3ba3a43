"""Trainings outside the pipeline, on the pipeline's own examples: what comparing models and tuning one share."""
