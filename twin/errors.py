"""Errors of the twin package that a user can cause and mend."""

from urdf.errors import UrdfitError


class TwinError(UrdfitError):
    """A rig, scene or measurement that cannot be used."""
