"""The benchmark with RobotSeg's and SAM 2's own predictors, their weights random: the way through, not the masks."""

import numpy as np
import pytest
import torch
from vrs_cases import make_vrs

pytest.importorskip("sam2")

from flows.cli import main
from flows.protocol_run import run_protocol
from segmentation.protocol import Prompting
from segmentation.robotseg import build_robotseg


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["AU", "1C", "3C", "BB", "OI"])
def test_robotseg_runs_through_every_mode(tmp_path, mode):
    torch.manual_seed(0)
    model = build_robotseg()
    parts = ("robot", "arm") if mode == "AU" else ("robot",)
    data = make_vrs(tmp_path / "VRS", ("a",), frames=2)
    result = run_protocol(data, tmp_path / "o", lambda: model, {}, prompting=Prompting(mode), parts=parts)
    assert result.frames == 2 and not any(s.note for s in result.scores)
    assert all(0 <= s.jaccard <= 1 and s.frames == 2 for s in result.scores if s.video == "a")
    assert np.isfinite(result.seconds) and len(list((tmp_path / "o" / "masks" / "a" / "robot").iterdir())) == 2


@pytest.mark.slow
def test_plain_sam_by_the_command(tmp_path, capsys):
    from segmentation.robotseg.build import skeleton

    torch.save({"model": skeleton("sam2.1_hiera_t").state_dict()}, tmp_path / "tiny.pt")
    data = make_vrs(tmp_path / "VRS", ("a",), frames=2)
    arguments = [
        "evaluate",
        "protocol",
        str(data),
        "--weights",
        str(tmp_path / "tiny.pt"),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*arguments, "--mode", "AU"]) == 2 and "finds nothing without prompts" in capsys.readouterr().err
    assert main([*arguments, "--mode", "BB", "--part", "gripper", "--part", "robot"]) == 0
    assert "BB with tiny.pt: 3 frames propagated" in capsys.readouterr().out
