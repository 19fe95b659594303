"""Videos encoded anew, for browsers that do not play them as they are: H.264 and AAC."""
