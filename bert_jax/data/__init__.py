"""Reading: tables of examples, their order, and batches of them."""
