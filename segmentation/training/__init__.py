"""Training of the default segmenter on renderings: `python -m segmentation.training --help`."""
