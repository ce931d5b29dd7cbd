"""Trials of reliability: faults that are really made to happen. `python -m tests.trials [NAME ...] [--quick]`."""
