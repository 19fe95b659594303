"""Training of the bundled model, on scenes that this package renders itself.

Importing this package loads nothing: `scenes` needs only numpy and pillow and is safe to import anywhere, `train` and
`evaluate` bring torch and open_clip. Run `python -m models.training --help` for the command line.
"""
