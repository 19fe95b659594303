"""Vocabularies that stand for a library, and learn from what people say of what they find.

`runs` keeps what is to be tagged anew, `tagger` does it beside a worker's jobs, `retagging` a page of videos at a
time; `deriving` makes of what was found, and what was said of it, the tags that a video has; `corrections` takes what
is said, `learner` learns of it, and `learned` keeps that.
"""
