"""Batches: every episode of a data set, each once, with a manifest that knows what is done."""
