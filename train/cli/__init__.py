"""What `train.main` says before, after and in place of training."""
