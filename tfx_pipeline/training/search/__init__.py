"""Search for hyper-parameters on the eval split, by `dmf tune` and by the pipeline's Tuner."""
