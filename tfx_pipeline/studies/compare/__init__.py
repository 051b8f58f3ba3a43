"""`dmf compare`: models of the registry on the same examples, with intervals for their differences and their cost."""
