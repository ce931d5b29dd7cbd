"""How a model is fitted: steps, schedulers, the loop, checkpoints."""
