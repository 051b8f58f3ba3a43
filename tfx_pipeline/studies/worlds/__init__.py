"""Synthetic logs whose click probabilities are known, so that what a model learnt can be told from what could be."""
