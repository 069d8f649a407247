"""Pieces of URDF text for small robots."""

from __future__ import annotations

BOX = '<visual><geometry><box size="0.1 0.1 0.3"/></geometry></visual>'


def link(name: str, inside: str = BOX) -> str:
    return f'<link name="{name}">{inside}</link>'


def joint(name: str, parent: str, child: str, kind: str = "revolute", inside: str = "") -> str:
    limit = "" if "<limit" in inside else '<limit lower="-1" upper="2" velocity="1" effort="1"/>'
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="0 0 0.3"/><axis xyz="0 1 0"/>{limit}{inside}</joint>'
    )
