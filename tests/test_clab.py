"""The containerlab file: valid by containerlab's schema, and the same lab as the one in namespaces."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lab.topology import LAB_DIR, LINKS, MACHINES, NODES_DIR, REPOSITORY

SCHEMA = REPOSITORY.parent / "shared" / "schemas" / "clab.schema.json"


@pytest.fixture(scope="module")
def clab() -> dict[str, Any]:
    loaded = yaml.safe_load((LAB_DIR / "l3ha.clab.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.skipif(not SCHEMA.exists(), reason="containerlab's schema is not at hand")
def test_valid_by_containerlabs_schema(clab: dict[str, Any]) -> None:
    text = SCHEMA.read_text().replace(r"\\p{N}\\p{L}", r"\\w")  # ECMA classes that Python's re does not know
    schema = json.loads(text)
    faults = jsonschema.validators.validator_for(schema)(schema).iter_errors(clab)
    assert [fault.message for fault in faults] == []


def test_same_machines_and_cables(clab: dict[str, Any]) -> None:
    assert set(clab["topology"]["nodes"]) == set(MACHINES)
    drawn = {frozenset(link["endpoints"]) for link in clab["topology"]["links"]}
    assert drawn == {frozenset(f"{end.machine}:{end.interface}" for end in link) for link in LINKS}


def test_every_machine_gets_its_own_files(clab: dict[str, Any]) -> None:
    for name, node in clab["topology"]["nodes"].items():
        inside = {bind.split(":")[-2]: bind.rpartition(":")[0].rpartition(":")[0] for bind in node["binds"]}
        assert inside["/lab/net.sh"] == f"nodes/{name}/net.sh"
        for source in inside.values():
            assert source.startswith("${L3HA_CLAB") or (LAB_DIR / source).is_file(), source


def test_net_scripts_name_every_interface_of_the_machine_and_no_other() -> None:
    for machine in MACHINES:
        drawn = {end.interface for link in LINKS for end in link if end.machine == machine}
        text = (NODES_DIR / machine / "net.sh").read_text()
        assert set(re.findall(r"\bdev (\S+)", text)) - {"lo"} == drawn


def test_both_router_softwares_know_both_nodes() -> None:
    for router in ("r1", "r2"):
        addresses = [set(re.findall(r"neighbor (100\.64\.\d+\.2)", _conf(router, kind))) for kind in ("frr", "bird")]
        assert addresses[0] == addresses[1]
        assert len(addresses[0]) == 2
        assert "graceful-restart-disable" in _conf(router, "frr")
        assert "graceful restart off" in _conf(router, "bird")


def _conf(router: str, kind: str) -> str:
    return Path(NODES_DIR / router / f"{kind}.conf").read_text()
