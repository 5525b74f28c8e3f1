"""The results of trainings and sweeps, read from their workdirs. Nothing here imports Keras or draws."""
