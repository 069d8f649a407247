"""Small text files from elsewhere: size limits, and one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

from segmentation.errors import TrainingError

MAX_TEXT = 16 * 2**20  # bytes


def read_text(file: Path) -> str:
    """A small text file.

    Raises:
        TrainingError: no such file, too large, or no text.
    """
    if not file.is_file():
        raise TrainingError(f"{file}: no such file")
    if file.stat().st_size > MAX_TEXT:
        raise TrainingError(f"{file}: {file.stat().st_size} bytes; expected at most {MAX_TEXT}")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{file}: not readable as text ({error})") from None


def read_names(file: Path) -> list[str]:
    """Names in a text file, one a line; empty lines and those with # in front do not count.

    Raises:
        TrainingError: no such file, or no text.
    """
    lines = (line.strip() for line in read_text(file).splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
