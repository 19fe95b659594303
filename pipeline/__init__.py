"""What happens to a video, from its packets to its report. Usable without a server."""
