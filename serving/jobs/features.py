"""Which jobs have the same features, and are spared computing them twice."""

import hashlib

import msgspec

from pipeline.report import REPORT_VERSION
from pipeline.spec import AnalysisSpec, SegmentSpec


def feature_key(video_sha256: str, spec: AnalysisSpec) -> str:
    """Equal for two jobs whose reports differ in their key segments at most: those are chosen from stored features."""
    whole = msgspec.structs.replace(spec, segments=SegmentSpec())
    told = msgspec.json.encode((REPORT_VERSION, video_sha256, whole), order="deterministic")
    return hashlib.sha256(told).hexdigest()
