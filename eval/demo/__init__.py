"""`python -m eval.demo`: a page to try a run on."""
