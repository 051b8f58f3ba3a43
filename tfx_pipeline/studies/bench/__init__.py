"""`dmf bench`: what the models cost, measured on this machine."""
