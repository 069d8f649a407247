"""`--robot auto`: the ranking chooses the robot of the run and is told in the episode."""

import pytest
from flow_cases import read_json

import flows.identification
import pose.identify
from flows.cli_tools import show_episode
from flows.episode import load_episode
from flows.errors import UsageError
from flows.job import make_job
from flows.report import render_report
from flows.run import run_episode
from pose.identify import Candidate, Ranking
from urdf import load_robot

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def ranked(monkeypatch):
    """A ranking without the work; counts how often it was asked for."""
    asked = []

    def identify(masks, robots, **options):
        asked.append((len(masks), tuple(robots), options["seed"]))
        first, second = Candidate("panda", 0.95, 0.6, "refined", 1.0), Candidate("fr3", 0.94, 0.4, "refined", 1.0)
        return Ranking((first, second), {"ur5": "broken"}, ("panda", "fr3"), 0.2, (0, 5), 2.0)

    monkeypatch.setattr(pose.identify, "identify", identify)
    monkeypatch.setattr(flows.identification, "at_hand", lambda: (("panda", "fr3", "ur5"), ("sawyer",)))
    return asked


def test_the_ranking_chooses_the_robot_and_is_kept(clip, fakes, quick_report, ranked, tmp_path, capsys):
    out = run_episode(clip.video, "auto", tmp_path / "e")
    run_episode(clip.video, "auto", tmp_path / "again")
    assert ranked == [(8, ("panda", "fr3", "ur5"), 0)]  # the second run takes it from the store
    episode = load_episode(out)
    assert episode.robot == "panda" and episode.settings["robot"] == "auto" and "identify" in episode.seconds
    found = read_json(out / "episode.json")["identification"]
    assert [c["name"] for c in found["candidates"]] == ["panda", "fr3"] and not found["confident"]
    text = "\n".join(episode.warnings)
    assert "panda 60%, fr3 40%" in text
    assert "did not try sawyer" in text and "urdfit robots fetch sawyer" in text and "ur5: broken" in text
    show_episode(out)
    assert "robot: panda, found out of panda 60% (IoU 0.950), fr3 40%" in capsys.readouterr().out


def test_the_report_shows_the_ranking(make_episode):
    candidate = {"name": "fr3", "iou": 0.5, "probability": 0.25, "stage": "refined"}
    html = render_report(make_episode(identification={"candidates": [candidate]}), load_robot("panda"), {})
    assert "Robot found out" in html and "25 %" in html
    assert "Robot found out" not in render_report(make_episode(), load_robot("panda"), {})


def test_joints_need_a_robot_by_name(clip, tmp_path):
    with pytest.raises(UsageError, match="--joints needs --robot by name"):
        make_job(clip.video, "auto", joints=tmp_path / "q.json")


def test_robots_are_at_hand_or_not():
    ready, absent = flows.identification.at_hand()
    assert {"panda", "iiwa14"} <= set(ready) and not set(ready) & set(absent)
