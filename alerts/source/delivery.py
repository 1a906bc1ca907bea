"""Alerts on alerting itself."""
from model import Alert, Case, Check, Firing
from story import Counter, cases, scene


def threshold(name):
    return f'scalar(kafka2prom:threshold:value{{name="{name}"}})'


SENT = 'alertmanager_notifications_total{job="alertmanager",instance="%s",integration="slack"}'
FAILED = 'alertmanager_notifications_failed_total{job="alertmanager",instance="%s",integration="slack"%s}'
NOTIFY = Alert(
    name="NotificationsFailing",
    expr="sum by (job, integration) (rate(alertmanager_notifications_failed_total[5m]))\n"
    "  / sum by (job, integration) (rate(alertmanager_notifications_total[5m]))\n"
    "  > " + threshold("notification_error_ratio"),
    for_="5m",
    severity="critical",
    unit="ratio",
    threshold="notification_error_ratio",
    summary="{value} of the notifications to {integration} fail",
    description="{value} of the notifications that Alertmanager sends to {integration} fail (threshold {threshold}): "
    "people are not told.",
    dashboard="k2p-delivery?var-integration={integration}",
    tests=cases(
        [
            Counter(SENT % "@", good=1000, bad=1000),
            Counter(FAILED % ("@", ',reason="serverError"'), good=0, bad=200, under=4, edge=5, over=6),
            Counter(FAILED % ("@", ',reason="rateLimited"'), good=0, bad=50, under=5, edge=5, over=5),
        ],
        Firing({"job": "alertmanager", "integration": "slack"}, 0.25),
        for_=5,
        window=5,
    )
    + [
        Case("boundary", scene([Counter(SENT % "@", good=800, bad=800), Counter(FAILED % ("@", ',reason="serverError"'), good=8, bad=8)],
                               [("bad", 15)]), (Check(13),), name="exactly the threshold"),
        # Much was sent before 10: ten minutes would still see it.
        Case("fires", scene([Counter(SENT % "@", good=1000, bad=10), Counter(FAILED % ("@", ',reason="serverError"'), good=1, bad=1)],
                            [("good", 11), ("bad", 14)]),
             (Check(22, (Firing({"job": "alertmanager", "integration": "slack"}, None),)),), name="little is sent any more"),
    ],
)
WATCHDOG = Alert(
    name="Watchdog",
    expr="group(kafka2prom:threshold:value) and on () kafka2prom:links:info",
    severity="none",
    summary="Alerting works",
    description="Always firing, as long as rules are evaluated and thresholds are there. A dead man's switch calls when "
    "it hears no more of it.",
    dashboard="k2p-delivery",
    tests=[
        Case("fires", {"up": "0+0x5"}, (Check(1, (Firing({}, 1),)), Check(5, (Firing({}, 1),)))),
        Case("for", {"up": "0+0x5"}, (Check(0, (Firing({}, 1),)),), name="at once"),
        Case("missing_scrape", {"up": "_ _ _ _ _"}, (Check(4, (Firing({}, 1),)),), name="it needs no scrape"),
    ],
    without={
        "below": "it compares with no number",
        "boundary": "it compares with no number",
        "resolves": "it never does, while rules are evaluated",
        "moves": "it reads no series of a bridge",
        "reset": "it reads no counter",
    },
)
ALERTS = [NOTIFY, WATCHDOG]
