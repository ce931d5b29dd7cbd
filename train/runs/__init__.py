"""What is kept of a run: its folder, record, log and checkpoints."""
