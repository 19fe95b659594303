"""What a network computes: encoders, heads, preprocessing, the bundled weights. Knows nothing of videos or servers."""
