"""The REST API: one file a resource. Imports neither torch nor Ray; answers within two seconds of its start."""
