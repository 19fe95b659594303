"""Bytes that nobody reads or changes without their key; docs/storage-format.md has the format, byte by byte."""
