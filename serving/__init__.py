"""Who may ask, where it runs, what is kept. No frame array passes through here."""
