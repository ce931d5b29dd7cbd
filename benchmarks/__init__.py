"""What things cost, measured. Nothing here is a test."""
