"""All of it together: which file holds which groups."""
import backlog
import bridge
import delivery
import origins
import pipelines
from model import Record
from recording import GROUPS
from thresholds import LINKS, THRESHOLDS
from model import num

THRESHOLD_RULES = [Record("kafka2prom:threshold:value", f"vector({num(t.value)})", (("name", t.name),)) for t in THRESHOLDS]
LINK_RULES = [Record("kafka2prom:links:info", "vector(1)", tuple(LINKS.items()))]


def recorded(*names):
    return [(name, *GROUPS[name]) for name in names]


# File → groups (name, interval, rules), in the order of evaluation in tests.
FILES = {
    "thresholds": [("kafka2prom-thresholds", None, THRESHOLD_RULES), ("kafka2prom-links", None, LINK_RULES)],
    "pipelines-recording": recorded("kafka2prom-pipelines-recording", "kafka2prom-pipelines-recording-slow",
                                    "kafka2prom-pipeline-thresholds"),
    # What they compare is recorded each minute: no need to ask more often.
    "pipelines": [("kafka2prom-pipelines", "1m", pipelines.ALERTS)],
    "run-budget": recorded("kafka2prom-run-budget") + [("kafka2prom-run-budget-alerts", "1m", pipelines.BUDGET)],
    "backlog": recorded("kafka2prom-partitions") + [("kafka2prom-backlog", None, backlog.ALERTS)],
    "bridge": recorded("kafka2prom-freshness") + [("kafka2prom-bridge", None, bridge.ALERTS)],
    "origins": [("kafka2prom-origins", None, origins.ALERTS)],
    "delivery": [("kafka2prom-delivery", None, delivery.ALERTS)],
}

# The files beside thresholds that an alert's rules rest on.
NEEDS = {"pipelines": ["pipelines-recording"], "run-budget": ["pipelines-recording"]}


def alerts():
    """(file, alert) of every alerting rule."""
    for file, groups in FILES.items():
        for _, _, rules in groups:
            for rule in rules:
                if not isinstance(rule, Record):
                    yield file, rule
