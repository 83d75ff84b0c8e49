"""examples/cluster: nodes of the tested server, options that the charts have; and docs/cluster.md's computed table."""

import importlib.util
from pathlib import Path

import pytest
import yaml
from server_fixtures import IMAGE

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "examples" / "cluster"
# What charts/qdrant/values.yaml of qdrant/qdrant-helm names and helm-chart/ray-cluster/values.yaml of
# ray-project/kuberay does (2026); below them only what a file here uses. `*` is Kubernetes' own.
QDRANT_CHART = {
    "replicaCount": None,
    "image": {"repository": None, "pullPolicy": None, "tag": None, "useUnprivilegedImage": None},
    "config": {"cluster": {"enabled": None, "p2p": "*", "consensus": "*"}},
    "apiKey": {"valueFrom": {"secretKeyRef": {"name": None, "key": None}}},
    "persistence": {"accessModes": None, "size": None, "annotations": None, "storageClassName": None},
    "resources": "*",
    "affinity": "*",
    "podDisruptionBudget": {"enabled": None, "maxUnavailable": None, "minAvailable": None},
}
RAY_GROUP = {"resources": "*", "containerEnv": "*", "volumes": "*", "volumeMounts": "*", "rayStartParams": "*"}
RAY_CHART = {
    "image": {"repository": None, "tag": None, "pullPolicy": None},
    "head": RAY_GROUP,
    "worker": {**RAY_GROUP, "groupName": None, "replicas": None, "minReplicas": None, "maxReplicas": None},
}


def read(name):
    return yaml.safe_load((FILES / name).read_text(encoding="utf-8"))


def unknown(values, known, at=""):
    """Options of a file that its chart does not have."""
    if known == "*" or known is None:
        return [] if known == "*" or not isinstance(values, dict) else [at]
    found = []
    for name, value in values.items():
        found += unknown(value, known[name], f"{at}.{name}") if name in known else [f"{at}.{name}"]
    return found


def test_three_nodes_of_the_tested_server_find_the_first():
    services = read("compose.yml")["services"]
    one = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["qdrant"]
    assert len(services) == 3
    for name, service in services.items():
        assert service["image"] == IMAGE
        assert service["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert service["environment"]["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?"), "no key, no start"
        assert service["healthcheck"] == one["healthcheck"], "the one that is tested"
        assert service["volumes"] == [f"{name}:/qdrant/storage"]
        command = service["command"]
        assert command[command.index("--uri") + 1] == f"http://{name}:6335"
        first = name == "qdrant-1"
        assert ("--bootstrap" in command) != first and bool(service.get("ports")) == first
        assert first or command[command.index("--bootstrap") + 1] == "http://qdrant-1:6335"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize(("name", "chart"), [("qdrant.yml", QDRANT_CHART), ("ray.yml", RAY_CHART)])
def test_values_are_options_that_the_chart_has(name, chart):
    values = read(name)
    assert unknown(values, chart) == []
    assert unknown({**values, "replicas": 3, "image": {"name": "x"}}, chart) == [".image.name", ".replicas"]


def test_nodes_of_the_values_are_of_the_tested_version_and_read_one_key():
    qdrant, ray = read("qdrant.yml"), read("ray.yml")
    assert IMAGE.endswith(f":{qdrant['image']['tag']}")
    key = qdrant["apiKey"]["valueFrom"]
    for group in ("head", "worker"):
        assert {"name": "QDRANT_API_KEY", "valueFrom": key} in ray[group]["containerEnv"], group
        volumes = {one["name"] for one in ray[group]["volumes"]}
        assert {one["name"] for one in ray[group]["volumeMounts"]} == volumes
    assert ray["worker"]["replicas"] == ray["worker"]["minReplicas"] == ray["worker"]["maxReplicas"]
    assert ray["worker"]["resources"]["requests"] == ray["worker"]["resources"]["limits"]


@pytest.fixture(scope="module")
def paper():
    spec = importlib.util.spec_from_file_location("make_cluster", ROOT / "docs" / "make_cluster.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_is_computed(paper):
    text = paper.PAGE.read_text(encoding="utf-8")
    assert paper.rendered(text) == text
    assert paper.rendered(text.replace("weights in bfloat16", "weights")) == text


def test_sizes_on_paper_follow_from_rows_width_and_speed(paper):
    small, large = paper.MODELS
    assert (small.gpus, large.gpus) == (1, 2)
    assert small.bytes_of(1000) == 8 * 1000 * (2 * 4096 + 4096 // 2 + 500)
    assert large.encoding(4e14 / 14e10) == pytest.approx(1.0)
    assert (paper._time(45), paper._time(3600), paper._time(2 * 3600), paper._time(3 * 86400)) == (
        *("1 min", "60 min"),
        *("2.0 h", "3.0 days"),
    )
