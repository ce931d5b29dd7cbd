"""Text to batches: token ids, packed rows, masks, and which examples come when."""
