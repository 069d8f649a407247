import av
import numpy as np
import pytest

from flows.drawing import part_image, tint
from flows.job import robot_of
from flows.overlay import VideoWriter, write_overlay


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        return frames, stream.codec_context.pix_fmt, float(stream.average_rate)


@pytest.mark.parametrize("size", [(120, 160), (121, 161), (99, 160), (120, 161)])
def test_every_size_gives_a_video_that_plays(tmp_path, size):
    image = np.zeros((*size, 3), np.uint8)
    image[:, : size[1] // 2] = 200
    with VideoWriter(tmp_path / "a.mp4", 12.5) as writer:
        for _ in range(5):
            writer.write(image)
    frames, pixels, fps = read(tmp_path / "a.mp4")
    assert len(frames) == 5 and pixels == "yuv420p" and fps == pytest.approx(12.5)
    height, width = frames[0].shape[:2]
    assert (height, width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert np.abs(frames[2][: size[0], : size[1]].astype(int) - image).mean() < 3


def test_the_overlay_shows_mask_and_robot(clip, clip_images, make_episode, tmp_path):
    from segmentation import MaskFolder

    episode = make_episode()
    seen = []
    kept = write_overlay(
        tmp_path / "o.mp4",
        episode,
        robot_of("panda"),
        clip_images,
        MaskFolder(clip.masks),
        keep=(0, 3),
        progress=seen.append,
    )
    frames, _, fps = read(tmp_path / "o.mp4")
    assert len(frames) == len(clip_images) and fps == pytest.approx(10) and seen == list(range(1, 9))
    assert set(kept) == {0, 3}
    parts = part_image(robot_of("panda"), clip.q[0], clip.camera)
    changed = np.abs(kept[0].astype(int) - clip_images[0]).max(2) > 12
    changed[:20, :90] = False  # the caption
    assert changed[parts >= 0].mean() > 0.8 and changed[parts < 0].mean() < 0.1


def test_part_image_agrees_with_the_masks(clip):
    from segmentation import MaskFolder

    masks = MaskFolder(clip.masks)[0]
    parts = part_image(robot_of("panda"), clip.q[0], clip.camera)
    assert ((parts == 1) == (masks["gripper"] > 0)).all() and (parts == 1).sum() > 20 and (parts == 0).sum() > 400


def test_tint_leaves_the_ground_alone():
    image = np.full((4, 4, 3), 100, np.uint8)
    mask = np.zeros((4, 4), np.uint8)
    mask[1:3, 1:3] = 255
    for masks in ({"robot": mask}, {"arm": mask}, {"robot": mask, "gripper": mask}):
        out = tint(image, masks)
        assert (out[mask == 0] == 100).all() and (out[mask > 0] != 100).any()
    assert (image == 100).all()
