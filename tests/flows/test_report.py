import re
from html.parser import HTMLParser

import numpy as np
import pytest

from flows.job import robot_of
from flows.report import pick_frames, render_report


class Page(HTMLParser):
    """Collects what a page would load, and checks that its tags close."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset") and not v.startswith("#")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text += data


def page_of(episode, **pictures):
    image = np.zeros((60, 80, 3), np.uint8)
    return render_report(episode, robot_of("panda"), {t: image for t in pick_frames(episode)})


def test_it_is_one_file_with_everything_in_it(make_episode):
    episode = make_episode()
    page = Page(page_of(episode))
    assert page.open == []
    outside = [v for v in page.loads if not v.startswith("data:image/jpeg;base64,")]
    assert outside == ["overlay.mp4"]  # a link, not something the page needs
    assert len(page.loads) - 1 == len(pick_frames(episode))
    for name in (*episode.joint_names, *episode.warnings, "worst fit", "no robot found", "up to 12.5°"):
        assert name in page.text, name


def test_text_from_outside_is_escaped(make_episode):
    evil = "<script>alert(1)</script>"
    html = page_of(
        make_episode(warnings=(evil,), robot=evil, settings={evil: evil}, source={"path": f"/x/{evil}", "fps": 5.0})
    )
    assert "<script" not in html and "&lt;script&gt;" in html


def test_colours_follow_the_page(make_episode):
    html = page_of(make_episode())
    assert "#010203" not in html and "currentColor" in html and "prefers-color-scheme: dark" in html
    assert not re.search(r'<svg[^>]*width="\d+(\.\d+)?pt"', html)


@pytest.mark.filterwarnings("error")
def test_an_episode_without_any_pose(make_episode):
    base = make_episode()
    empty = np.full_like(base.q, np.nan)
    episode = make_episode(
        q=empty,
        sigma=empty,
        valid=np.zeros(len(empty), bool),
        iou=empty[:, 0],
        gripper_opening=empty[:, 0],
        gripper_sigma=empty[:, 0],
        observable=np.zeros(empty.shape, bool),
    )
    assert "no robot found" in Page(page_of(episode)).text


def test_frames_are_spread_and_contain_the_worst(make_episode):
    episode = make_episode()
    chosen = pick_frames(episode)
    assert {0, 7, int(np.nanargmin(episode.iou))} <= set(chosen) and len(chosen) <= 6 and chosen == sorted(chosen)
