"""Videos as players ask for them: by URLs that are good for a while, in ranges, in segments."""
