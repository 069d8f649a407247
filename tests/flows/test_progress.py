import io
import sys

import pytest

from flows import progress


def test_reports_go_to_whoever_listens():
    heard = []
    progress.report("fit", 1, 2)  # nobody: nothing happens
    with progress.listening(lambda *report: heard.append(report)):
        progress.report("fit", 1, 2)
        with progress.listening(lambda *report: None):
            progress.report("fit", 2, 2)
    progress.report("fit", 2, 2)
    assert heard == [("fit", 1, 2)]


@pytest.mark.parametrize("total", [3, 0])
def test_bars_show_stage_speed_and_time_left(monkeypatch, total):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress_bars():
        for done in range(4):
            progress.report("fit: track", done, total)
    text = terminal.getvalue()
    assert "fit: track" in text and f"3/{total or '?'}" in text and ":" in text


def test_no_bars_into_a_pipe(capsys):
    with progress.progress_bars():
        progress.report("fit", 1, 2)
    assert capsys.readouterr() == ("", "")
