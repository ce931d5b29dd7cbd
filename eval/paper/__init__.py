"""`python -m eval.paper`: the paper's tables and figure, ours beside theirs."""
