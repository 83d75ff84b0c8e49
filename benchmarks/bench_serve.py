"""Fifty readers of one server on this machine: how long until the first words, and does anything fail?

    python -m benchmarks.bench_serve --model .cache/demo-model --store .cache/demo-store demo/data/images/scene_14.png

Each reader brings the image, asks for a reading, and follows its layers; all at once. Prints percentiles in seconds.
"""

import argparse
import asyncio
import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from lensbank import load_model, open_store
from lensbank.serve.running import Server, configured
from lensbank.serve.service import Service
from lensbank.serve.settings import ServeSettings
from lensbank.serve.sockets import listening

TOKEN = "bench"


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, 95th percentile and the longest."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return {"median": round(statistics.median(ordered), 3), "p95": round(p95, 3), "longest": round(ordered[-1], 3)}


async def reader(client: httpx.AsyncClient, data: bytes, layers: str | None) -> dict[str, Any]:
    """One person's way, with its times from the question on."""
    uploaded = await client.post("/api/images?name=bench.png", content=data)
    uploaded.raise_for_status()
    question = {"images": [uploaded.json()["id"]], "layers": layers}
    asked = time.monotonic()
    job = (await client.post("/api/readings", json=question)).raise_for_status().json()["id"]
    told: dict[str, Any] = {"first": None, "end": None, "how": None}
    async with client.stream("GET", f"/api/readings/{job}/events") as events:
        async for line in events.aiter_lines():
            kind = line.removeprefix("event: ")
            if kind == "layer" and told["first"] is None:
                told["first"] = time.monotonic() - asked
            if line.startswith("event: ") and kind in ("done", "failed", "cancelled", "bye"):
                told["end"], told["how"] = time.monotonic() - asked, kind
    return told


async def readers(base: str, count: int, data: bytes, layers: str | None) -> list[Any]:
    """All at once."""
    limits = httpx.Limits(max_connections=2 * count)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=300, limits=limits) as client:
        asked = (reader(client, data, layers) for _ in range(count))
        return list(await asyncio.gather(*asked, return_exceptions=True))


def main() -> None:
    """Serve, ask alone, then ask together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--layers", help="of each reading; by default 0 and the banks'")
    options = parser.parse_args()
    loaded = load_model(options.model)
    settings = ServeSettings(port=0, token=TOKEN)
    service = Service({loaded.name: loaded}, lambda: open_store(options.store), settings, print)
    service.engine.warm()
    with listening(settings) as opened:
        stopping = asyncio.Event()
        server = Server(configured(service, stopping), stopping)
        service.worker.start()
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        base, data = f"http://127.0.0.1:{opened.getsockname()[1]}", options.image.read_bytes()
        alone = [asyncio.run(readers(base, 1, data, options.layers))[0] for _ in range(5)]
        start = time.monotonic()
        together = asyncio.run(readers(base, options.readers, data, options.layers))
        wall = time.monotonic() - start
        stopping.set()
        server.should_exit = True
        thread.join()
        service.worker.stop(5)
    wrong = [repr(one) for one in together if not isinstance(one, dict) or one["how"] != "done"]
    fine = [one for one in together if isinstance(one, dict) and one["how"] == "done"]
    print(
        json.dumps(
            {
                "alone: first words": percentiles([one["first"] for one in alone]),
                "alone: all layers": percentiles([one["end"] for one in alone]),
                "readers": options.readers,
                "together: first words": percentiles([one["first"] for one in fine]),
                "together: all layers": percentiles([one["end"] for one in fine]),
                "seconds a reading": round(wall / max(1, len(fine)), 3),
                "failed": len(wrong),
                "first failure": wrong[0] if wrong else None,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
