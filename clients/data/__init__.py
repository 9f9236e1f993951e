"""Clients' data: what it is, where it lies, how it is divided. Importing it loads only numpy."""

from clients.data.cards import describe_client, site_card
from clients.data.columns import Columns
from clients.data.drift import Drift, drift_slots, make_drift, validate_drift
from clients.data.examples import ClientData, Examples, Table
from clients.data.federation import (
    Federation,
    load_federation,
    load_public,
    load_server_test,
    partition_table,
)
from clients.data.labels import order_labels
from clients.data.partitions import PARTITIONS, SHIFT_ARGUMENTS, validate_partition
from clients.data.site import load_site
from clients.data.spec import DataSpec, public_share

__all__ = [
    "PARTITIONS",
    "SHIFT_ARGUMENTS",
    "ClientData",
    "Columns",
    "DataSpec",
    "Drift",
    "Examples",
    "Federation",
    "Table",
    "describe_client",
    "drift_slots",
    "load_federation",
    "load_public",
    "load_server_test",
    "load_site",
    "make_drift",
    "order_labels",
    "partition_table",
    "public_share",
    "site_card",
    "validate_drift",
    "validate_partition",
]
