"""The project's main job from end to end on a simulated meter, by the same commands that a person would type."""
