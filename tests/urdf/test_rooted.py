"""A robot hung on one of its links: the same places, seen from there."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import random_robot

from urdf import Robot, RobotError
from urdf.rooted import carried_with, only_links, rooted


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), links=st.integers(1, 12), pick=st.integers(0, 11))
def test_links_are_where_they_were_as_the_link_sees_them(seed: int, links: int, pick: int) -> None:
    robot = random_robot(seed, links)
    link = robot.link_names[pick % links]
    hung = rooted(robot, link)
    assert hung.base_link == link and hung.joint_names == robot.joint_names
    assert (hung.tree.parent < np.arange(len(hung.tree.parent))).all()
    for q in np.random.default_rng(seed).normal(size=(3, len(robot.joint_names))):
        before, after = robot.link_poses(q), hung.link_poses(q)
        at = np.linalg.inv(before[robot.link_names.index(link)])
        for row, name in enumerate(robot.link_names):
            np.testing.assert_allclose(after[hung.link_names.index(name)], at @ before[row], atol=1e-9)


def test_surfaces_stay_on_their_links(panda: Robot) -> None:
    hung = pickle.loads(pickle.dumps(rooted(panda, "panda_hand")))
    for mesh, old in ((hung.mesh, panda.mesh), (hung.with_mesh_faces(500).mesh, panda.with_mesh_faces(500).mesh)):
        names = [hung.link_names[i] for i in mesh.vertex_link]
        assert names == [panda.link_names[i] for i in old.vertex_link]
        assert hung.part_of_link[mesh.face_link].tolist() == panda.part_of_link[old.face_link].tolist()
    back = rooted(hung, "panda_link0")
    np.testing.assert_allclose(
        back.link_poses(panda.rest)[back.ee_index], panda.link_poses(panda.rest)[panda.ee_index], atol=1e-12
    )


def test_what_a_hand_carries_with_it(panda: Robot) -> None:
    beside = {name for name, still in zip(panda.link_names, carried_with(panda, "panda_hand")) if still}
    fingers = {"panda_leftfinger", "panda_rightfinger"}
    assert beside >= {"panda_link7", "panda_hand", *fingers} and "panda_link6" not in beside
    assert beside == {n for n, still in zip(panda.link_names, carried_with(panda, "panda_leftfinger")) if still}


def test_only_some_links_are_drawn_and_these_finely_enough(panda: Robot) -> None:
    shown = np.array([name == "panda_hand" for name in panda.link_names])
    hand = only_links(panda, shown)
    assert {panda.link_names[i] for i in hand.mesh.face_link} == {"panda_hand"}
    assert hand.mesh.faces.max() == len(hand.mesh.vertices) - 1
    assert len(hand.with_mesh_faces(1000).mesh.faces) > 2 * (panda.with_mesh_faces(1000).mesh.face_link == 8).sum()
    corners = hand.mesh.vertices[hand.mesh.faces].reshape(-1, 9)
    whole = panda.mesh.vertices[panda.mesh.faces[shown[panda.mesh.face_link]]].reshape(-1, 9)
    np.testing.assert_array_equal(corners, whole)


def test_an_unknown_link_is_named(panda: Robot) -> None:
    with pytest.raises(RobotError, match="no link 'hand'; choose from panda_link0"):
        rooted(panda, "hand")
