"""All dashboards."""
import bridges
import fleet
import pipelines
import slo
import sources

ALL = [
    fleet.FLEET, pipelines.OVERVIEW, pipelines.RUN, slo.SLO, bridges.BACKLOG, bridges.BRIDGE, sources.ORIGINS, sources.LOGS,
    sources.DELIVERY,
]
