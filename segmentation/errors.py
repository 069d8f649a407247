"""Errors that a user of this package can cause; each message is one line."""


class VideoError(ValueError):
    """A video file or folder of images that cannot be read."""


class MaskError(ValueError):
    """A mask folder that is empty, incomplete, or does not fit its video."""


class WeightsError(ValueError):
    """A segmenter that is unknown or a weights file that cannot be used."""


class PromptError(ValueError):
    """A click, box or mask prompt that is written wrongly or does not fit its video."""


class TrainingError(ValueError):
    """Training data, settings or a checkpoint that cannot be used, or a training run that cannot go on."""
