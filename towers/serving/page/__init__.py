"""The page for people: what a user would be shown and why, a map of the videos, how the service does, its versions."""
