"""Pictures of videos for whoever shows them: of a moment, of the whole, of all of it at a glance."""
