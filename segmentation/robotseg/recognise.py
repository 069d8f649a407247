"""Which network a state dict belongs to, from the names and shapes of its tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from torch import Tensor

from segmentation.errors import WeightsError

SHOWN = 3  # keys named in a message
# Width of the first layer and number of blocks of sam2's image encoders.
SIZES = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}
PATCHES, BLOCKS = "image_encoder.trunk.patch_embed.proj.weight", "image_encoder.trunk.blocks."
NEWER = "no_obj_embed_spatial"  # came with SAM 2.1


def recognise(state: Mapping[str, Tensor]) -> str:
    """One of "default", "robotseg", or SAM 2 of some size: "sam2.1_hiera_t", "sam2_hiera_l", ...

    Raises:
        WeightsError: of no network that is known here; names the first missing, unexpected and misshapen tensors of
            the one that is nearest.
        ImportError: telling needs the sam2 package, which is not installed.
    """
    name = nearest(state)
    check(state, name, _shapes(name))
    return name


def check(state: Mapping[str, Tensor], name: str, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Are these the tensors of the network `name`, which has such shapes?

    Raises:
        WeightsError: they are not.
    """
    found = shapes(state)
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    misshapen = [key for key in expected if key in found and found[key] != expected[key]]
    if not (missing or unexpected or misshapen):
        return
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    if misshapen:
        key = misshapen[0]
        parts.append(f"{len(misshapen)} of another shape ({key}: {found[key]}, expected {expected[key]})")
    raise WeightsError(f"no weights of a known network; against {name}, tensors are: " + ", ".join(parts))


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes by name, without the counters of batch norms, which no result depends on."""
    return {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}


def nearest(state: Mapping[str, Tensor]) -> str:
    """The network whose telling tensors are there; RobotSeg if none are."""
    if any(key.startswith("encoder.stem") for key in state):
        return "default"
    if any(key.startswith(("robot_prompt_generator.", "sam_mask_decoder.robot_token")) for key in state):
        return "robotseg"
    patches = state.get(PATCHES)
    width = patches.shape[0] if patches is not None and patches.ndim else 0
    blocks = {key[len(BLOCKS) :].split(".")[0] for key in state if key.startswith(BLOCKS)}
    size = SIZES.get((width, len(blocks)))
    if size is None:
        return "robotseg"
    return f"sam2.1_hiera_{size}" if NEWER in state else f"sam2_hiera_{size}"


@lru_cache(maxsize=16)
def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    if name == "default":
        from segmentation.network import RobotNet

        return shapes(RobotNet().state_dict())
    from segmentation.robotseg.build import skeleton

    return shapes(skeleton(name).state_dict())
