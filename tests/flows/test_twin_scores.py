"""`urdfit evaluate twin`."""

import json

import twin.measure
from twin.sample import sample_cameras, sample_scene
from twin.scene_files import write_scene


def test_command(urdfit, tmp_path, monkeypatch):
    measure = twin.measure.measure_twin
    monkeypatch.setattr("flows.twin_scores.measure_twin", lambda a, b, box: measure(a, b, box, spacing=0.01))
    truth, out = tmp_path / "truth", tmp_path / "e.json"
    write_scene(truth, sample_scene().truth(None, sample_cameras(0.25)))
    status, shown, _ = urdfit("evaluate", "twin", truth, truth, "--out", out)
    assert status == 0 and "F-score at 5 mm" in shown and "object toy" in shown
    errors = json.loads(out.read_text())
    assert errors["surface"]["f_score"][0] > 0.99 and errors["cameras"]["side"]["position"] == 0
    status, _, said = urdfit("evaluate", "twin", tmp_path, truth)
    assert status == 1 and "no scene there" in said
    status, _, said = urdfit("evaluate", "twin", truth, truth, "--region", "1,x")
    assert status == 1 and "region" in said
