"""Training of the segmenters and the data for it: `urdfit train --help`."""
