"""Episodes made of an episode: other backdrops, other robots, the same actions."""
