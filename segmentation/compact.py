"""The segmenter that ships: the compact network with the memory of a frame, and prompts that choose and mend."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from segmentation.errors import PromptError
from segmentation.frames import Frames, open_frames
from segmentation.guide import Guide
from segmentation.looks import SINGLE, Look, Looks, blend
from segmentation.network import STRIDE, RobotNet
from segmentation.order import Masks, in_order
from segmentation.prompts import Prompt, check_prompts, merge
from segmentation.restrict import FLOOR, window

THUMB = (32, 24)  # width, height of the small grey pictures that tell a cut
SAME_SCENE = 0.7  # correlation of two of them


@dataclass(frozen=True)
class Memory:
    """What a frame leaves for the next: how to look at it, the answer (3,h,w), and what it looked like."""

    looks: tuple[Look, ...]
    soft: torch.Tensor
    thumb: np.ndarray


class NetworkSegmenter:
    """The compact network; `robot` is the union of `arm` and `gripper`.

    The network sees each frame together with its answer for the frame before, unless the scene has changed: a cut
    would leave it the memory of another place. It knows robots of a certain size: one that fills the picture is best
    seen small, one far away large. So the size, or sizes (`segmentation.looks`), at which it looks follow the
    share that was robot in the frame before.
    """

    parts: tuple[str, ...] = ("robot", "arm", "gripper")

    def __init__(self, network: RobotNet, device: str = "cpu", looks: Looks = SINGLE):
        self.looks = looks
        self.device = torch.device(device)
        self.dtype = torch.bfloat16 if _bfloat16_is_fast(self.device) else torch.float32
        network = network.eval().fuse().to(self.device, self.dtype)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def segment(
        self, frames: Frames | Iterable[np.ndarray], prompts: Sequence[Prompt] = (), parts: Sequence[str] = ()
    ) -> Iterator[Masks]:
        """See `Segmenter.segment`."""
        return in_order(self.track(frames, prompts, parts))

    def track(
        self, frames: Frames | Iterable[np.ndarray], prompts: Sequence[Prompt] = (), parts: Sequence[str] = ()
    ) -> Iterator[tuple[int, Masks]]:
        """See `Segmenter.track`: with prompts first the frame of the first one, then those before, then those after."""
        found = self._guided(frames, prompts) if prompts else self._plain(frames)
        for index, masks in found:
            yield index, {part: masks[part] for part in parts or self.parts}

    def _plain(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[int, Masks]]:
        memory = None
        for index, frame in enumerate(frames):
            masks, memory = self._look(frame, memory)
            yield index, masks

    def _guided(self, frames: Frames | Iterable[np.ndarray], prompts: Sequence[Prompt]) -> Iterator[tuple[int, Masks]]:
        film = open_frames(frames)  # type: ignore[arg-type]
        prompts = merge(prompts)
        check_prompts(prompts, film.width, film.height, len(film))
        for prompt in prompts:
            if prompt.mask is None:
                _check_seen(self._look(film[prompt.frame])[0], prompt)
        start = prompts[0].frame
        here = [p for p in prompts if p.frame == start]
        guide = Guide(prompts)
        masks, memory = self._look(film[start])
        yield start, guide.step(masks, here)
        backward, past = guide.copy(), memory
        for index in range(start - 1, -1, -1):
            masks, past = self._look(film[index], past)
            yield index, backward.step(masks)
        for index in range(start + 1, len(film)):
            masks, memory = self._look(film[index], memory)
            yield index, guide.step(masks, [p for p in prompts if p.frame == index])

    def _look(self, frame: np.ndarray, memory: Memory | None = None) -> tuple[Masks, Memory]:
        """Masks of a frame, and what it leaves for the next."""
        _check_frame(frame)
        thumb = _thumb(frame)
        before, looks = None, self.looks.first
        if memory is not None and float((thumb * memory.thumb).mean()) >= SAME_SCENE:
            before, looks = memory.soft, memory.looks
        answers = {look: self._answer(frame, look, before) for look in looks}
        soft = blend([*answers.values()])
        if before is None:
            chosen = self.looks.of(soft)
            soft = blend([answers[look] if look in answers else self._answer(frame, look) for look in chosen])
        arm, gripper = _enlarged(soft[1:], frame)
        return {"robot": arm + gripper, "arm": arm, "gripper": gripper}, Memory(self.looks.of(soft), soft, thumb)

    @torch.inference_mode()
    def _answer(self, frame: np.ndarray, look: Look, before: torch.Tensor | None = None) -> torch.Tensor:
        """Softmax (3,h,w) at the network's size. before: that of the frame before, of any size."""
        height, width = frame.shape[:2]
        h, w = network_size(height, width, look.area)
        method = cv2.INTER_AREA if h * w < height * width else cv2.INTER_LINEAR
        small = cv2.resize(frame, (w, h), interpolation=method)
        image = torch.from_numpy(np.ascontiguousarray(small))[None].to(self.device).permute(0, 3, 1, 2)
        image = image.to(self.dtype).contiguous(memory_format=torch.channels_last)
        prior = None
        if before is not None:
            prior = before[None] if before.shape[1:] == (h, w) else F.interpolate(before[None], (h, w), mode="bilinear")
            prior = torch.cat([prior[:, 1:], torch.ones_like(prior[:, :1])], 1).to(self.dtype)
        if look.mirrored:
            image, prior = image.flip(3), None if prior is None else prior.flip(3)
        soft = self.network(image, prior).float().softmax(1)[0]
        return soft.flip(2) if look.mirrored else soft


def _check_frame(frame: np.ndarray) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"a frame must be (H,W,3) uint8 RGB, got {frame.shape} {frame.dtype}")


def _enlarged(soft: torch.Tensor, frame: np.ndarray) -> np.ndarray:
    """Probabilities (C,h,w) at the frame's size, (C,H,W) float32."""
    height, width = frame.shape[:2]
    full = cv2.resize(soft.permute(1, 2, 0).cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(full.transpose(2, 0, 1))


def _thumb(frame: np.ndarray) -> np.ndarray:
    """A small grey picture with mean 0 and standard deviation 1: products of two have their correlation as mean."""
    small = cv2.resize(frame, THUMB, interpolation=cv2.INTER_AREA).mean(2)
    return (small - small.mean()) / max(float(small.std()), 1.0)


def _check_seen(masks: Masks, prompt: Prompt) -> None:
    """A prompt that asks for something where the network sees nothing must not end in silence.

    Raises:
        PromptError: a click inside, or a box, where the probability is too low to bring anything back.
    """
    part = prompt.part or "robot"
    advice = "click elsewhere or on another frame, give a mask with --mask, or use other weights"
    points = np.rint(prompt.points[prompt.labels == 1])
    for x, y in np.clip(points, 0, (masks[part].shape[1] - 1, masks[part].shape[0] - 1)).astype(int):
        if masks[part][y, x] <= FLOOR:
            raise PromptError(
                f"{prompt.where}: the built-in network sees no {part} at {x},{y} (probability "
                f"{masks[part][y, x]:.2f}, at least {FLOOR:g} is needed); {advice}"
            )
    if prompt.box is not None and not (masks[part][window(prompt.box, masks[part].shape)] > FLOOR).any():
        raise PromptError(f"{prompt.where}: the built-in network sees no {part} in the box; {advice}")


def network_size(height: int, width: int, area: int) -> tuple[int, int]:
    """Input size nearest the picture's shape with about `area` pixels, multiples of 32 (height, width)."""
    scale = (area / (height * width)) ** 0.5
    return tuple(max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width))  # type: ignore[return-value]


def _bfloat16_is_fast(device: torch.device) -> bool:
    """Half the bits only help where the processor computes with them; elsewhere they are emulated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if os.environ.get("URDFIT_FLOAT32"):
        return False
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(capability())
