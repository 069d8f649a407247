"""What people read of a batch: `report.html`, one page with everything in it, and `dead_letters.csv`."""

from __future__ import annotations

import base64
import csv
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from flows.batch.executor import DONE
from flows.batch.summary import BINS, Summary, manifest_of, summarize
from flows.files import atomic_path, read_json
from segmentation.video import upright

THUMBNAIL = 320  # pixels wide


def write_dead_letters(out: Path) -> int:
    """Write `dead_letters.csv`: id, status, attempts, error of every episode that failed; returns how many."""
    count = 0
    with atomic_path(out / "dead_letters.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "status", "attempts", "error"])
        for row in manifest_of(out).latest(["status", "attempt", "error"]):
            if row["status"] != DONE:
                table.writerow([row["id"], row["status"], row["attempt"], row["error"]])
                count += 1
    return count


def write_batch_report(out: str | Path) -> Path:
    """Write `report.html` of a batch's folder; returns its path."""
    path = Path(out) / "report.html"
    html = render(Path(out))
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def render(out: Path) -> str:
    """The report's HTML; every text that comes from outside is escaped."""
    summary = summarize(manifest_of(out))
    state = read_json(out / "batch.json", "batch")
    environment = Environment(loader=PackageLoader("flows"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["span"] = span
    done = summary.counts.get(DONE, 0)
    return environment.get_template("batch.html").render(
        name=Path(str(state["dataset"])).name,
        state=state,
        run=state.get("last_run") or {},
        summary=summary,
        total=sum(summary.counts.values()),
        done=done,
        failed=sum(summary.counts.values()) - done,
        histogram=Markup(_histogram(summary)),
        stages=_stage_rows(summary),
        pictures=[
            {"id": id, "folder": folder, "iou": iou, "data": Markup(_thumbnail(out / folder))}
            for id, folder, iou in summary.pictured
        ],
        page="report.html" if state["settings"]["report"] else "episode.json",
        settings={k: v for k, v in _settings(state).items() if v is not None},
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )


def span(seconds: float) -> str:
    """A duration as people say it: 20 ms, 3.2 s, 12 min, 5 h 20 min, 2 d 4 h."""
    if not np.isfinite(seconds):
        return "?"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    settings = state.get("settings") or {}
    shown = {k: state.get(k) for k in ("dataset", "kind", "robot", "limit", "retries", "urdfit")}
    shown |= {k: ("given" if k == "camera" and v is not None else v) for k, v in settings.items()}
    limits = state.get("limits") or {}
    return shown | {f"limit of {k}": v for k, v in limits.items()}


def _stage_rows(summary: Summary) -> list[dict[str, Any]]:
    whole = sum(stage.total for stage in summary.stages) or 1.0
    return [{"stage": stage, "share": stage.total / whole} for stage in summary.stages]


def _histogram(summary: Summary) -> str:
    """Bars of mean IoU as SVG; colours come from the page."""
    counts, highest = summary.histogram, max(max(summary.histogram), 1)
    width, height, left, base = 720, 190, 44, 160
    step = (width - left - 10) / BINS
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Episodes by mean IoU">']
    for i, count in enumerate(counts):
        tall = 140 * count / highest
        x = left + i * step
        title = f"<title>IoU {i / BINS:.2f} to {(i + 1) / BINS:.2f}: {count}</title>"
        parts.append(
            f'<rect class="bar" x="{x + 1:.1f}" y="{base - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}">'
            f"{title}</rect>"
        )
        if count:
            parts.append(f'<text x="{x + step / 2:.1f}" y="{base - tall - 4:.1f}" class="count">{count}</text>')
    parts.append(f'<line class="axis" x1="{left}" y1="{base}" x2="{width - 10}" y2="{base}"/>')
    for i in range(0, BINS + 1, 4):
        parts.append(f'<text x="{left + i * step:.1f}" y="{base + 18}" class="tick">{i / BINS:.1f}</text>')
    parts.append("</svg>")
    return "".join(parts)


def _thumbnail(folder: Path) -> str:
    """A frame from the middle of an episode's overlay as a data URL; "" where there is none."""
    try:
        with av.open(str(folder / "overlay.mp4")) as container:
            stream = container.streams.video[0]
            container.seek((stream.duration or 0) // 2, stream=stream)
            image = upright(next(container.decode(stream)))
    except (av.FFmpegError, OSError, StopIteration, IndexError):
        return ""
    size = THUMBNAIL, max(1, round(image.shape[0] * THUMBNAIL / image.shape[1]))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
