"""Ground floor: time, names, limits, errors and settings. Imports nothing of the project."""
