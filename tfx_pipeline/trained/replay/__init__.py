"""Requests captured from serving, scored again in Keras and through the exported model."""
