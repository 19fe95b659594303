"""Videos repacked for browsers without decoding anything: fragmented MP4, cut where decoding can start."""
