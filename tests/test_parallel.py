"""Devices and processes: the same numbers on any of them, and one sentence where they cannot be had."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bert_jax.batches.batches import training_batches
from bert_jax.batches.masked import mask_batches
from bert_jax.config import SIZES, ModelConfig
from bert_jax.errors import InputError, LostError
from bert_jax.tasks import MASKED_LM, TASKS, Task
from tests.builders import THREE, begin, lively_params, random_examples, tiny_model
from tests.test_masked_lm import ALL, VOCABULARY, only, texts_of
from tests.test_step import assert_trees_close
from tests.trials.harness import free_port
from train.config import TrainConfig
from train.devices.parallel import QUICK_SEARCH, Method, Parallel, _names_options
from train.devices.programs import Programs
from train.devices.supervisor import WORKER, explain
from train.optim import make_optimizer
from train.resolve import resolve
from train.runs.finished import restore_run
from train.step import init_state, make_train_step, trained_parts

ROOT = Path(__file__).parent.parent
PAIRS = TASKS["quora"]
MODEL = ModelConfig(bert=dataclasses.replace(SIZES["bert-tiny"], vocab_size=500))


def trained(task: Task, parallel: Parallel, accumulate: int = 1, steps: int = 3):
    """Losses and parameters after some updates by plain gradient descent, with batches of 10, 10 and 7 examples."""
    shares = parallel.count * accumulate
    if task is MASKED_LM:
        plain = training_batches(texts_of(27), "mlm", 0, 10, steps, shares, 64)
        batches, parts = mask_batches(plain, VOCABULARY, 5, per_epoch=3), ALL
    else:
        batches, parts = training_batches(random_examples(task, 27), task.name, 0, 10, steps, shares, None), None
    model = tiny_model()
    params = lively_params(model) if parts is None else lively_params(model, parts)
    moving, tx = trained_parts(model, task), optax.sgd(0.1)
    step = parallel.compile_train_step(make_train_step(model, task, tx, moving, 5, accumulate), accumulate)
    state = parallel.place(init_state(jax.tree.map(np.array, params), tx, moving))
    losses = []
    for number in range(steps):
        state, metrics = step(state, batches[number])
        losses.append(float(metrics["loss"]))
    return losses, state.params


@pytest.mark.parametrize("task", THREE, ids=lambda task: task.name)
def test_a_state_that_is_used_up_becomes_what_a_kept_one_does(task):
    """As it does not with jaxlib 0.7.2 to 0.8.1 on a CPU."""
    batches = training_batches(random_examples(task, 30), task.name, 0, 10, 3, 1, None)
    tx, moving = make_optimizer(1e-3, 0.01), trained_parts(MODEL, task)
    body = make_train_step(MODEL, task, tx, moving, 5, 1)
    ended = []
    for step in (Parallel(1).compile_train_step(body), jax.jit(lambda state, batch: body(state, only(batch)))):
        state = init_state(jax.tree.map(jnp.array, lively_params(MODEL)), tx, moving)
        for number in range(3):
            state, _ = step(state, batches[number])
        ended.append(state)
    assert_trees_close(*ended, atol=0)


@pytest.mark.parametrize("task", [PAIRS, MASKED_LM], ids=lambda task: task.name)
def test_any_way_to_cut_a_batch_is_the_same_update(task):
    """Uneven lengths, a ragged last batch, dropout on: devices, methods and parts of a batch change rounding alone."""
    losses, params = trained(task, Parallel(1))
    ways: list[tuple[int, Method, int]] = [(1, "shard_map", 1), (4, "shard_map", 1), (1, "jit", 4), (2, "pmap", 2)]
    for devices, method, accumulate in ways:
        other_losses, other = trained(task, Parallel(devices, method), accumulate)
        np.testing.assert_allclose(other_losses, losses, atol=1e-5, rtol=0, err_msg=f"{devices} {method} {accumulate}")
        assert_trees_close(params, other, atol=1e-5)


def test_what_a_finished_run_predicts_with_is_on_all_devices_before_the_first_batch(tmp_path):
    begin(TrainConfig(run_dir=tmp_path))
    for count in (1, 2):
        run = restore_run(tmp_path, "best", Programs(count))
        assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(run.params)} == {count}


def test_what_runs_a_step_is_said_and_refused_where_it_cannot():
    assert Parallel(1).method == "jit" and Parallel(4).method == "pmap"
    assert str(Parallel(2, "shard_map")) == "2 x cpu, shard_map"
    with pytest.raises(InputError, match="--parallel=jit runs on one device, but there are 2"):
        Parallel(2, "jit")
    with pytest.raises(InputError, match="--devices=9, but there are 4 devices of kind cpu"):
        Parallel(9)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"num_processes": 2}, "need --coordinator"),
        ({"coordinator": "host"}, "it is HOST:PORT"),
        ({"coordinator": "host:99999"}, "it is HOST:PORT"),
        ({"coordinator": "host:1", "num_processes": 2}, "needs --num_processes and --process_id"),
        ({"coordinator": "host:1", "num_processes": 2, "process_id": 2}, "have the numbers 0 to 1"),
        ({"accumulate": 0}, "must be at least 1"),
    ],
)
def test_flags_of_processes_are_checked(flags, sentence):
    with pytest.raises(InputError, match=sentence):
        resolve(TrainConfig(**flags))


def test_the_last_words_of_a_worker_become_a_sentence():
    """As jaxlib 0.10.2 wrote them when a process was killed or stopped, or never came."""
    lost = "F1124 client.h:80] Terminating process because the JAX distributed service detected fatal errors. "
    unhealthy = lost + "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\nThe tasks have"
    gone = lost + "UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task was preempted"
    stuck = lost + "DEADLINE_EXCEEDED: Deadline Exceeded\n\nRPC: /xla.coordination.CoordinationService/Heartbeat\n"
    never = lost + "DEADLINE_EXCEEDED: Deadline Exceeded\n\nRPC: /xla.coordination.CoordinationService/RegisterTask\n"
    for said, kind, part in (
        (unhealthy, LostError, "process 1 is lost or stuck"),
        (gone, LostError, "process 0, at host:1, is lost or stuck"),
        (stuck, LostError, "process 0, at host:1, is lost or stuck"),
        (never, InputError, "did not find together within 9 s"),
    ):
        error = explain(-6, said, "host:1", 9)
        assert type(error) is kind and part in str(error)
    assert "SIGKILL" in str(explain(-9, "", "host:1", 9))


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            "MemoryError()",
            5,
            "error: there is not enough memory; a larger --accumulate or a smaller",
        ),
        ("RuntimeError('RESOURCE_EXHAUSTED: out')", 5, "error: there is not enough memory"),
        ("OSError(28, 'No space left')", 5, "error: the output cannot be written: No space left"),
        ("ValueError('a bug')", 1, "ValueError: a bug"),
    ],
)
def test_a_worker_says_what_it_lacks_as_a_process_does_that_is_alone(raised, code, said):
    program = f"from train.devices.supervisor import working\nwith working(0):\n    raise {raised}"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, WORKER: "1,2,0"}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as worker:  # fmt: skip
        assert worker.wait(60) == code and worker.stderr is not None and said in worker.stderr.read()


def test_a_segmentation_fault_after_a_port_in_use_is_about_the_port():
    """jaxlib 0.10.2 falls into one about every second time."""
    said = "E1125 add_port.cc:83] Failed to add port to server: No address added out of total 1 resolved"
    error = explain(-11, said, "host:1", 9)
    assert type(error) is InputError and "host:1: process 0 cannot listen there; is the port in use?" in str(error)


def start(folder: Path, number: int, port: int, *flags: str) -> subprocess.Popen[str]:
    host = ("127.0.0.1", "localhost")[number]  # each process may call it as it likes
    found = (f"--coordinator={host}:{port}", "--num_processes=2", f"--process_id={number}")
    return start_one(folder, *found, *flags)


def start_by_slurm(folder: Path, number: int, job: int, *flags: str) -> subprocess.Popen[str]:
    """As `srun` would start one of two tasks, on this machine."""
    slurm = {"JOB_ID": job, "STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": number, "LOCALID": number}
    return start_one(folder, "--coordinator=auto", *flags, **{f"SLURM_{name}": str(v) for name, v in slurm.items()})


def start_one(folder: Path, *flags: str, **env: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "train.main", "--tasks=sst", "--batch_size=60", "--epochs=1", "--save_every=4"),
        *("--no-hugepages", f"--run_dir={folder}", *flags),
    ]
    two_devices = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    env = {**os.environ, "XLA_FLAGS": two_devices, **env}
    return subprocess.Popen(
        command, cwd=ROOT, text=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )


def test_two_processes_stop_at_one_update_and_go_on(tmp_path):
    """SIGTERM comes to the second process alone; both stop there with code 75, and the first has saved.

    They go on as tasks of Slurm, which say themselves where they find together, and then as one process of one device.
    """
    port, run = free_port(), tmp_path / "run"
    first, second = (start(run, number, port, "--max_steps=3000", "--epochs=150") for number in (0, 1))
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "4").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    second.terminate()
    said = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (75, 75), said
    assert "a signal to another process after" in said[0][1] and said[1][0] == ""
    saved = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    assert f"after {saved} of" in said[0][1] and f"SIGTERM after {saved} of" in said[1][1]
    flags, job = (f"--max_steps={saved + 2}", "--epochs=150"), saved + os.getpid()  # JAX makes a port of its number
    again = [start_by_slurm(run, number, job, *flags) for number in (0, 1)]
    said = [process.communicate(timeout=120) for process in again]
    assert [process.returncode for process in again] == [0, 0], said
    assert (run / "checkpoints" / str(saved + 2)).exists() and "4 x cpu of 2 processes, shard_map" in said[0][0]
    alone = start_one(run, "--devices=1", f"--max_steps={saved + 3}", "--epochs=150")
    out, err = alone.communicate(timeout=120)
    assert alone.returncode == 0 and f"going on after {saved + 2}" in out and "1 x cpu, jit" in out, (out, err)


def test_a_process_that_is_alone_says_so_in_one_sentence(tmp_path):
    began = time.monotonic()
    alone = start(tmp_path / "run", 1, free_port(), "--process_timeout=2")
    _, err = alone.communicate(timeout=60)
    assert alone.returncode == 2 and err.count("\n") == 1 and "did not find together within 2 s" in err
    assert time.monotonic() - began < 30 and not (tmp_path / "run").exists()


def test_a_port_in_use_is_one_sentence(tmp_path):
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        first = start(tmp_path / "run", 0, port, "--process_timeout=2")
        _, err = first.communicate(timeout=60)
    assert first.returncode == 2 and err.count("\n") == 1 and f"127.0.0.1:{port}" in err


def test_a_step_takes_compiler_options_unless_xla_flags_say_how_kernels_are_looked_for(monkeypatch):
    """The option is for GPUs; a CPU's compiler knows its name, and would refuse one that there is not."""
    parallel = Parallel(1)
    assert parallel.options is None
    monkeypatch.setattr(parallel, "options", QUICK_SEARCH)
    predict = parallel.compile_predict_step(lambda params, batch: jnp.asarray(batch.labels) * params["a"]["b"])
    batch = training_batches(random_examples(PAIRS, 4), PAIRS.name, 0, 4, 1, 1, None)[0]
    np.testing.assert_array_equal(predict({"a": {"b": jnp.float32(2)}}, batch), 2 * batch.labels[0])
    monkeypatch.setattr(parallel, "options", {"xla_gpu_no_such_option": False})
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_gpu_no_such_option"):
        parallel.compile_predict_step(lambda _, batch: jnp.asarray(batch.labels))({}, batch)
    for flags, names in (("", False), ("--xla_dump_to=/tmp", False), ("--xla_gpu_autotune_level=0", True)):
        monkeypatch.setenv("XLA_FLAGS", flags)
        assert _names_options() == names
