"""Data sets to train on, made of episodes: actions, quality, LeRobot, CSV and Parquet."""
