"""Whether a manifest is what Kubernetes takes: by its own schemas, and by ours of the kinds that others bring."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

VERSIONS = ("1.31", "1.37")
"""Of Kubernetes: the oldest and the newest that manifests are held against."""

_OURS = {
    "ray.io/v1 RayService": "rayservice",
    "monitoring.coreos.com/v1 PodMonitor": "podmonitor",
    "monitoring.coreos.com/v1 PrometheusRule": "prometheusrule",
    "kustomize.config.k8s.io/v1beta1 Kustomization": "kustomization",
}
"""Kinds that Kubernetes itself does not have -> the file of their schema."""


def wrong(document: dict[str, Any], version: str) -> list[str]:
    """What is wrong with a manifest, each with its place; nothing for a good one. Unknown names are wrong."""
    validator = Draft202012Validator(_schema(document, version), registry=_registry(version))
    return [f"{'.'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(document)]


def ours(name: str) -> dict[str, Any]:
    """A schema of ours."""
    return json.loads((Path(__file__).parent / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def _schema(document: dict[str, Any], version: str) -> dict[str, Any]:
    name = f"{document['apiVersion']} {document['kind']}"
    if name in _OURS:
        return ours(_OURS[name])
    group, _, edition = document["apiVersion"].rpartition("/")
    edition = f"{group.partition('.')[0]}-{edition}" if group else edition
    return _theirs(f"{document['kind'].lower()}-{edition}", version)


def _theirs(name: str, version: str) -> dict[str, Any]:
    return schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/{name}.json", version)


@cache
def _registry(version: str) -> Registry:
    parts = [Resource.from_contents(_theirs(name, version)) for name in ("_definitions", "service-v1")]
    return parts @ Registry()
