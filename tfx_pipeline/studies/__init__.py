"""What takes many trainings or measurements: comparing, tuning, benchmarks, worlds with known truth."""
