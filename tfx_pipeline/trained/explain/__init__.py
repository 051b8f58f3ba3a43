"""`dmf explain`: what carried the score of one candidate for one user."""
