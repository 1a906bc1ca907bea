"""`python3 grafana/source` writes grafana/dashboards and grafana/empty.txt; `--check` says what
is not as it would write it."""
import json
import subprocess
import sys
from pathlib import Path

import boards
from model import dashboard_json

HERE = Path(__file__).resolve().parent.parent


def alerts_by_dashboard():
    """uid → names of the alerts that lead there."""
    tables = [sys.executable, HERE.parent / "alerts/source", "--list"]
    listed = json.loads(subprocess.run(tables, check=True, capture_output=True).stdout)["alerts"]
    found = {}
    for alert in listed:
        found.setdefault(alert["dashboard"].split("?")[0], {})[alert["name"]] = True
    every = dict.fromkeys(alert["name"] for alert in listed if alert["name"] != "Watchdog")
    # The fleet's is the way in: it shows all.
    return found | {"k2p-fleet": every, "k2p-run": found["k2p-run"] | found["k2p-pipelines"]}


def files():
    """Every file, by its path below grafana/."""
    alerts, made, empty = alerts_by_dashboard(), {}, []
    for dashboard in boards.ALL:
        text = json.dumps(dashboard_json(dashboard, list(alerts[dashboard.uid])), indent=2, ensure_ascii=False)
        text = text.replace("@ALERTS@", "|".join(alerts["k2p-fleet"]))
        made[f"dashboards/{dashboard.uid}.json"] = text + "\n"
        for row in dashboard.rows:
            empty += [f"{dashboard.uid} | {panel.title} | {panel.empty}\n" for panel in row.panels if panel.empty]
    head = "# Panels that have no data as long as all is well, or that nobody uses, and why.\n"
    made["empty.txt"] = head + "# Written by `python3 grafana/source`; a test runs every query of the others.\n" + "".join(empty)
    return made


def main():
    made = files()
    if "--check" in sys.argv:
        stale = [name for name, text in made.items() if not (HERE / name).is_file() or (HERE / name).read_text() != text]
        found = {str(path.relative_to(HERE)) for path in (HERE / "dashboards").glob("*")}
        stale += sorted(found - set(made))
        if stale:
            sys.exit("not what python3 grafana/source writes: " + ", ".join(stale))
        return
    for name, text in made.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text)


main()
