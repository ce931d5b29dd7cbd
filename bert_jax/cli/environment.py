"""What has to be settled before JAX is imported, or before Python starts: kept compiled programs, and huge pages."""

import hashlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

CACHE_BYTES = 2 << 30
HUGE_PAGES = "glibc.malloc.hugetlb=1"
RESTARTED = "BERT_JAX_RESTARTED"  # in the environment: it was this program that set the variable


def keep_compiled_programs() -> None:
    """Tells JAX to keep compiled programs on disk, so that the next run that needs them loads them.

    They lie in `$XDG_CACHE_HOME/bert_jax`, 2 GiB at most. Each version of XLA and each kind of processor has a folder
    of its own: a program has the instructions of the processor it was compiled for, and a home may be shared. JAX's own
    variables come first, so `JAX_ENABLE_COMPILATION_CACHE=false` turns it off. On macOS loading them has crashed.
    """
    if sys.platform == "darwin" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "bert_jax" / f"jaxlib-{version('jaxlib')}-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written to costs time and nothing else
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(CACHE_BYTES))
    # Else the folder's path is part of a program's key, and XLA writes files of its own that no limit holds for.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")


def restart_with_huge_pages() -> None:
    """Starts this process again, once, with memory in huge pages, if the C library and the kernel have them.

    The C library reads the setting before Python runs. It keeps the process's number and open files. An update takes
    about a sixth less time on a processor; one on a GPU takes the same.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" in tunables or not _has_huge_pages():
        return
    settings = {"GLIBC_TUNABLES": f"{tunables}:{HUGE_PAGES}" if tunables else HUGE_PAGES, RESTARTED: "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **settings})


def pages_in_words() -> str:
    """What pages the process's memory comes in, and why."""
    if "glibc.malloc.hugetlb" not in os.environ.get("GLIBC_TUNABLES", ""):
        return "pages of the usual size"
    if RESTARTED not in os.environ:
        return "huge pages, as GLIBC_TUNABLES says"
    return "huge pages, for which the program started itself again (--no-hugepages: without)"


def _has_huge_pages() -> bool:
    """Whether glibc is new enough to ask for them (2.35), and Linux gives them to those who ask."""
    library, number = platform.libc_ver()
    if library != "glibc" or tuple(map(int, number.split(".")[:2])) < (2, 35):
        return False
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


def _processor() -> str:
    """The kind of processor, in eight characters: its name and its instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return hashlib.sha256("\n".join([platform.machine(), *kind]).encode()).hexdigest()[:8]
