"""Decoders: each turns a Clip into frames that are named by their time. `base` is the contract."""
