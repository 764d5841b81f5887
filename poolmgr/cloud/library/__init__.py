"""Clouds for other programs: `connect` one, and create servers on it that are reachable."""
