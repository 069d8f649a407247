"""A batch of 100,000 episodes, simulated: planning, resuming and reporting stay under a minute and 1 GB."""

import pytest

pytest.importorskip("benchmarks.scaling_manifest", reason="needs the repository's benchmarks")

from benchmarks.scaling_manifest import LIMITS, fill, make, simulate, step


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_episodes(tmp_path):
    told = dict(simulate(tmp_path, 100_000))
    assert told["plan"]["to do"] == 100_000 and told["resume"]["to do"] == 9_000
    assert told["resume"]["done"] + told["resume"]["failed"] == 91_000
    for name, figures in told.items():
        assert figures["seconds"] < LIMITS[0] and figures["MB in all"] < LIMITS[1], f"{name}: {figures}"


def test_the_simulation_counts_right(tmp_path):
    """Its steps with few episodes, in this process."""
    make(tmp_path, 400)
    assert step("plan", tmp_path)["to do"] == 400
    fill(tmp_path, 400)
    resumed = step("resume", tmp_path)
    assert (resumed["to do"], resumed["done"], resumed["failed"]) == (36, 360, 4)
    assert step("report", tmp_path)["failures"] == 4
    page = (tmp_path / "out" / "report.html").read_text()
    assert "no robot found" in page and "360" in page
