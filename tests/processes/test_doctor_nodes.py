"""``bouquet doctor --on``: a SuperLink that runs, one site that is ready and one that is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flower_host import FlowerHost, Nodes, wait_until
from hospitals import Sites


@pytest.mark.slow
def test_each_site_is_found_ready_or_with_what_to_mend(
    host: FlowerHost, sites: Sites, vit_folder: Path, tmp_path: Path
) -> None:
    nodes = Nodes(host)
    data = {"hospital-a": sites.clients / "hospital-a", "hospital-b": tmp_path / "nowhere"}
    for name, path in data.items():
        state = tmp_path / name
        nodes.add(name, f'client-id="{name}" data-path="{path}" state-dir="{state}"')
        wait_until(lambda name=name: "SuperNode ID" in host.log(name), 60.0, name)
    host.connection("lab", address=nodes.address, insecure=True)
    words = [f"model={vit_folder}", f"out-dir={tmp_path / 'runs'}", "adapter-args=rank=2"]
    done = host.run(["bouquet", "doctor", *words, "--on", "lab", "--format", "json"], timeout=240.0)
    found = json.loads(done.stdout[done.stdout.index("[") :])
    print(json.dumps(found, indent=1))
    about = {one["about"]: one for one in found}
    assert done.returncode == 1
    assert about["SuperLink 'lab'"]["level"] == "good"
    assert about["node of hospital-a"]["found"].endswith("rows; takes part")
    (unready,) = (one for one in found if one["level"] == "problem")
    assert unready["about"].startswith("node ")
    assert not unready["about"].startswith("node of")
    assert "'hospital-b'" in unready["found"]
    assert "nowhere' does not exist" in unready["found"]
    assert not list((tmp_path / "runs").rglob("metrics.jsonl"))  # nobody trained
