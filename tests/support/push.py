"""Pushes as Python programs do, with the official client: push.py HOST:PORT."""

import sys

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import delete_from_gateway, push_to_gateway, pushadd_to_gateway

address, key = sys.argv[1], {"path": "/var/tmp"}
registry = CollectorRegistry()
Gauge("python_push_a", "From Python.", registry=registry).set(1)
Histogram("python_push_seconds", "From Python.", registry=registry).observe(0.3)
push_to_gateway(address, "python_job", registry, grouping_key=key)
more = CollectorRegistry()
Gauge("python_push_b", "From Python.", registry=more).set(2)
pushadd_to_gateway(address, "python_job", more, grouping_key=key)
push_to_gateway(address, "python_compressed", more, compression="gzip")
push_to_gateway(address, "python_gone", registry)
delete_from_gateway(address, "python_gone")
