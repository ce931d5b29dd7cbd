"""The embedded sample: tables in the course's format and a small vocabulary, all made by `make.py`."""

from pathlib import Path

SAMPLE = Path(__file__).parent
