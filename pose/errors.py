"""Errors of the pose package that a user can cause and mend."""

from urdf.errors import UrdfitError


class CameraError(UrdfitError):
    """A camera file or matrix that cannot describe a camera."""


class FitError(UrdfitError):
    """Masks, joints or settings that a fit cannot start from."""
