"""Weights in folders, under the names of Hugging Face."""
