"""Errors of the flows, and the tuple of all errors whose cause is the input rather than the program."""

from urdf.errors import UrdfitError


class FlowError(UrdfitError):
    """An input or a setting that the flows cannot work with; the message is one line for the user."""


class UsageError(FlowError):
    """A command given wrongly (exit code 2)."""


def user_errors() -> tuple[type[Exception], ...]:
    """Every error a user can cause; their messages are shown as one line without a traceback."""
    from segmentation.errors import MaskError, PromptError, TrainingError, VideoError, WeightsError

    return (UrdfitError, VideoError, MaskError, PromptError, TrainingError, WeightsError)
