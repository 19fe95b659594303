"""Nothing heavier than a path is shared by all tests; each package has its own fixtures."""
