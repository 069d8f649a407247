"""Data sets of robot videos, read one episode at a time, from a local folder or any URL that fsspec opens."""

from flows.datasets.catalogue import KINDS, open_dataset
from flows.datasets.source import Dataset, JointLog, Problem, SourceEpisode, View

__all__ = ["KINDS", "Dataset", "JointLog", "Problem", "SourceEpisode", "View", "open_dataset"]
