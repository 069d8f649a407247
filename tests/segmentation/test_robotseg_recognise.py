"""Networks are told by the names and shapes of their tensors."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("sam2", reason="the package sam2 is not installed")
pytest.importorskip("hydra", reason="the package hydra-core is not installed")

from segmentation.errors import WeightsError
from segmentation.robotseg.build import build_robotseg, build_sam2, skeleton
from segmentation.robotseg.recognise import recognise

SIZES = ["t", "s", pytest.param("b+", marks=pytest.mark.slow), pytest.param("l", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def robotseg():
    return dict(skeleton("robotseg", 128).state_dict())


@pytest.fixture(scope="module")
def tiny():
    return dict(skeleton("sam2.1_hiera_t", 128).state_dict())


def test_robotseg_and_the_built_in_network(robotseg):
    from segmentation.network import RobotNet

    assert recognise(robotseg) == "robotseg"
    assert recognise(RobotNet().state_dict()) == "default"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("version", ["2", "2.1"])
def test_sam2_of_every_size(version, size):
    name = f"sam{version}_hiera_{size}"
    state = skeleton(name, 128).state_dict()
    assert recognise(state) == name
    assert build_sam2(state, size=128).no_mem_embed.shape == (1, 1, 256)


def test_versions_and_networks_are_not_mixed_up(robotseg, tiny):
    names = skeleton("sam2_hiera_t", 128).state_dict()
    older = {name: value for name, value in tiny.items() if name in names}
    assert 0 < len(tiny) - len(older) < 5 and recognise(older) == "sam2_hiera_t"
    with pytest.raises(WeightsError, match=r"weights of robotseg, expected SAM 2 or 2\.1"):
        build_sam2(robotseg, size=128)
    with pytest.raises(WeightsError, match=r"against robotseg.*114 missing"):
        build_robotseg(tiny, size=128)


def test_wrong_weights_name_what_is_missing_and_unexpected(robotseg, tiny):
    state = dict(robotseg)
    for name in ("maskmem_tpos_enc", "no_mem_embed"):
        del state[name]
    state["head.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        recognise(state)
    message = str(caught.value)
    assert "against robotseg" in message and "\n" not in message
    assert "2 missing (maskmem_tpos_enc, no_mem_embed)" in message and "1 unexpected (head.weight)" in message

    with pytest.raises(WeightsError, match=r"no_mem_embed: \(2,\), expected \(1, 1, 256\)"):
        recognise({**tiny, "no_mem_embed": torch.zeros(2)})
    with pytest.raises(WeightsError, match=r"against robotseg.*585 missing \(.*, \.\.\.\), 1 unexpected \(a\)"):
        recognise({"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="585 missing"):
        recognise({})
    trunk = {name: value for name, value in tiny.items() if name.startswith("image_encoder.")}
    with pytest.raises(WeightsError, match=r"against sam2_hiera_t.*missing \(maskmem_tpos_enc"):
        recognise(trunk)
