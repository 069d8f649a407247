"""Scene twins from several cameras: not in this version."""
