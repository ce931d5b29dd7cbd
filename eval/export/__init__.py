"""`python -m eval.export`: a run as a folder that other libraries load."""
