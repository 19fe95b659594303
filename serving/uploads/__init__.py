"""Videos on their way in."""
