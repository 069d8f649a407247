"""Errors that a user can cause and mend: each message is one line."""


class UrdfitError(ValueError):
    """Base of every error whose cause is the input, not the program."""


class RobotError(UrdfitError):
    """A robot that is unknown, or whose description cannot be used."""
