"""Devices and processes, and the programs compiled for them."""
