"""From raw features to transformed ones and to a model's inputs; in training as in serving."""
