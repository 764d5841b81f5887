"""Static providers: hosts that are there already, their slots registered as nodes (launcher.md 10)."""
