"""`python -m train.stanford`: Stanford's files of SST as the course's tables, by `bert_jax/data/sst.py`."""

from bert_jax.cli.command import run_command
from bert_jax.data.sst import StanfordConfig, write_tables

if __name__ == "__main__":
    run_command(StanfordConfig, write_tables, "train.stanford")
