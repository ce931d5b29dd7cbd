"""How a model is judged: scores, and the commands that print or write what it says."""
