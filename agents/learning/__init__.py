"""What the trainer does: PPO over options, the curve, checkpoints, evaluation. Imported in its process alone."""
