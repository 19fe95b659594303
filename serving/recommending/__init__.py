"""What is recommended: items that somebody named, candidates near to them, and picks with their reasons."""
