"""docs/cluster-compose.yml: three nodes of the server that is tested, which find each other."""

from pathlib import Path

import yaml
from server_fixtures import IMAGE

ROOT = Path(__file__).resolve().parent.parent


def test_three_nodes_of_the_tested_server_find_the_first():
    text = (ROOT / "docs" / "cluster-compose.yml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
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
