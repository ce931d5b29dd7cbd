"""Reading: tables of examples, from files, TensorFlow Datasets and the web."""
