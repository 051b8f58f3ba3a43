"""The same pipeline on Kubeflow: `compile` writes it, `step` is what its containers run."""
