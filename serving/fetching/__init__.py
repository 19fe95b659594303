"""Videos that are fetched from where they are."""
