"""The flags of a run as its help lists them: under headings, those that most people want first."""

from collections.abc import Mapping

Sections = Mapping[str, tuple[str, ...]]

RUN_SECTIONS: Sections = {
    "experiment": ("recipe", "scheduler", "tasks", "mode", "dry_run"),
    "data": ("data_dir", "subset", "data", "tfds_dir", "manual_dir", "train_split", "dev_split"),
    "model": ("init", "model", "vocab", "pooling", "pair_encoding", "similarity_head", "max_length"),
    "training": ("epochs", "batch_size", "lr", "weight_decay", "head_dropout", "max_steps", "seed"),
    "recipe": ("pretrain_epochs", "pretrain_lr", "mlm_epochs", "mlm_lr"),
    "saving": ("run_dir", "save_minutes", "save_every", "log_every", "tensorboard"),
    "speed": ("dtype", "row_length", "accumulate", "profile"),
    "device": ("devices", "parallel", "coordinator", "num_processes", "process_id", "process_timeout"),
}
PAPER_SECTIONS: Sections = {
    "content": ("list", "table", "figure", "all", "only"),
    "training": ("data_dir", "init", "quick", "epochs", "mlm_epochs", "figure_epochs", "suited_lr", "seed"),
    "folder": ("runs_dir", "results", "output"),
}
