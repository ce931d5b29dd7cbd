"""The program as a library: a run is trained by `fit` and opened by `open_run`.

JAX is imported once something is computed.
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.cli.interrupt import Interrupt
from bert_jax.cli.settings import read_settings_file, take_all
from train.cli.progress import in_notebook
from train.config import TrainConfig
from train.extend import additions, extended, load_extension, make_additions
from train.runs.opened import Run, Which
from train.runs.questions import Prediction
from train.stages import prepare_stages, run_stages, with_recipe

__all__ = ["Prediction", "Run", "fit", "open_run"]


def fit(
    *,
    schedulers: Mapping[str, Any] | None = None,
    losses: Mapping[str, Any] | None = None,
    heads: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    recipes: Mapping[str, Any] | None = None,
    optimizers: Mapping[str, Any] | None = None,
    **settings: Any,
) -> "Run | None":
    """Trains a run, or goes on with it, as `python -m train.main` does with the same flags.

    In a notebook the stop button saves it, and the same call goes on.

    Args:
      schedulers, losses, heads, scores, recipes, optimizers: rows that are added to these tables while it trains
        (`train/extend.py`). The source of each is a part of what makes the run this run.
      settings: every flag by its name, such as scheduler="mtdnn", epochs=4; `config` names a settings file.

    Returns:
      The run; None with dry_run=True.

    Raises:
      UserError: what is wrong with settings, tables, weights or the folder, in one sentence, or that it was stopped.
    """
    tables = {name: rows for name, rows in locals().items() if name != "settings"}
    with contextlib.ExitStack() as entered:
        if in_notebook():  # where stderr is printed on red
            entered.enter_context(contextlib.redirect_stderr(sys.stdout))
        entered.enter_context(extended(make_additions(tables)))
        config = make_config(settings)
        stages = prepare_stages(config)
        if config.run.dry_run:
            from train.cli.forecast import print_forecast

            print_forecast(stages)
            return None
        interrupt = entered.enter_context(Interrupt(own_process=False))
        run_stages(stages, interrupt, given=config)
        return Run(stages[-1].run.run_dir, "best", additions())


def make_config(settings: Mapping[str, Any]) -> TrainConfig:
    """The settings that some values by name make: over those of the file `config`, and those of a recipe.

    Raises:
      InputError: one is unknown, or of another type.
    """
    own = {name: value for name, value in settings.items() if name != "config"}
    in_file = read_settings_file(TrainConfig, Path(settings["config"])) if "config" in settings else {}
    given = in_file | take_all(TrainConfig, own, "{name}={value!r}")
    return TrainConfig(**vars(with_recipe(given)), **given)


def open_run(
    run_dir: str | Path,
    checkpoint: Which = "best",
    *,
    extend: str | Path | None = None,
    heads: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> "Run":
    """A run that has been trained, or begun; of a recipe the last stage that was begun.

    Args:
      extend, heads, scores: what it was trained with beside the program's own, as in `fit`.

    Raises:
      InputError: the folder is no run.
      WeightsError: it is one, but damaged or of another version.
    """
    with extended(make_additions({"heads": heads, "scores": scores})):
        if extend:
            load_extension(Path(extend))
        return Run(Path(run_dir), checkpoint, additions())
