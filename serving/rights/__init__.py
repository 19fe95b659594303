"""What people may ask of who keeps something about them: that it goes, that it stays, that it is handed out."""
