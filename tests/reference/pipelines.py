#!/usr/bin/env python3
"""What the records of one events partition add up to, computed the plain way.

Reads JSON lines, one record each, in the order in which they were consumed:
    {"offset": 7, "timestamp": 1760000000000, "key": "daily", "headers": {"k2p-id": "a;1"}, "value": "..."}
`value` is the record's text (several lines of events), or a list of bytes where it is no
text. Prints, sorted, one line per sample (metrics as tests/reference/templates.yaml
defines them) and one per run. Written from the issue and the design, not from the bridge;
it knows no limits and keeps everything.
"""
import json
import re
import sys
from collections import defaultdict
from datetime import datetime, timezone

TERMINAL = ("SUCCEEDED", "FAILED", "PARTIAL")
RUN_BUCKETS = (10.0, 30.0, 60.0, 120.0, 300.0)
STEP_BUCKETS = (1.0, 10.0, 30.0, 60.0)
RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$")


class Refused(Exception):
    pass


def nanoseconds(value):
    """RFC 3339, or Unix s, ms, us or ns, told apart by size."""
    if isinstance(value, str):
        match = RFC3339.match(value)
        if not match:
            raise Refused("timestamp")
        whole = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        return int(whole.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    for limit, factor in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if value < limit:
            return int(value * factor)
    return int(value)


def seconds(ns):
    return (ns // 1000) / 1e6


class Run:
    def __init__(self):
        self.attempts = {}  # number -> {"started", "status", "start", "end"}
        self.start = self.began = self.end = self.target = self.max_retries = None
        self.trigger = None
        self.missed = self.lost = False
        self.seen = 0

    def latest(self):
        return max(self.attempts) if self.attempts else None

    def status(self):
        if self.lost:
            return "LOST"
        attempt = self.attempts[self.latest()]
        return attempt["status"] or ("RUNNING" if attempt["started"] else "QUEUED")

    def begin(self):
        return self.start if self.start is not None else self.began

    def over(self, at):
        if self.begin() is None or self.target is None:
            return False
        return at > self.begin() + int(self.target * 1e6)


class Reference:
    def __init__(self):
        self.samples = defaultdict(float)
        self.histograms = {}
        self.runs = defaultdict(dict)  # pipeline -> run id -> Run
        self.targets = {}
        self.ids = set()

    # Metrics.
    def count(self, name, by=1, **labels):
        self.samples[name, tuple(sorted(labels.items()))] += by

    def observe(self, name, buckets, value, **labels):
        key = name, tuple(sorted(labels.items()))
        counts = self.histograms.setdefault(key, {"buckets": [[b, 0] for b in buckets], "count": 0, "sum": 0.0})
        counts["count"] += 1
        counts["sum"] += value
        for bucket in counts["buckets"]:
            bucket[1] += value <= bucket[0]

    def latest(self, name, value, **labels):
        key = name, tuple(sorted(labels.items()))
        self.samples[key] = max(self.samples[key], value)

    # Records.
    def record(self, record):
        headers = {name.lower(): value for name, value in record["headers"].items()}
        identity = headers.get("k2p-id")
        if identity is not None:
            if identity in self.ids:
                return
            self.ids.add(identity)
        time = record["timestamp"]
        op = headers.get("k2p-op")
        if op in ("sla", "lost"):
            self.judge(op, json.loads(record["value"]), time)
            return
        if op or not isinstance(record["value"], str):
            return
        for line in record["value"].split("\n"):
            if not line.strip():
                continue
            try:
                self.line(json.loads(line), record["key"], time)
            except (ValueError, KeyError, Refused):
                continue

    def line(self, event, key, time):
        if not isinstance(event, dict):
            raise Refused("no object")
        event = {name: value for name, value in event.items() if value is not None}
        if "content" in event:
            raise Refused("job entries are not counted here")
        if event["pipeline_id"] != key:
            raise Refused("miskeyed")
        if "operation" in event:
            self.lineage(event, key, time)
        elif "status" in event:
            self.run(event, key, time)
        elif "level" in event:
            self.log(event, key, time)

    def log(self, event, pipeline, time):
        nanoseconds(event["timestamp"])
        level, step = event["level"], event.get("step")
        metrics = event.get("metrics", {})
        self.count("pipeline_log_events_total", pipeline_id=pipeline, level=level)
        if level == "ERROR":
            kind = re.split(r"[./]", event["error"]["type"])[-1]
            self.count("pipeline_errors_total", pipeline_id=pipeline, component=event["component"], error_type=kind)
        for field, direction in (("rows_read", "read"), ("rows_written", "write")):
            if field in metrics:
                self.count("pipeline_rows_total", metrics[field], pipeline_id=pipeline, step=step, direction=direction)
        if step is not None and "duration_ms" in metrics:
            self.observe("pipeline_step_duration_seconds", STEP_BUCKETS, metrics["duration_ms"] / 1000,
                         pipeline_id=pipeline, step=step)
        self.alive(event, pipeline, time)

    def lineage(self, event, pipeline, time):
        nanoseconds(event["timestamp"])
        self.count("pipeline_lineage_total", pipeline_id=pipeline, operation=event["operation"])
        self.alive(event, pipeline, time)

    def alive(self, event, pipeline, time):
        if "run_id" in event:
            run = self.runs[pipeline].setdefault(event["run_id"], Run())
            run.seen, run.lost = time, False

    # Runs.
    def run(self, event, pipeline, time):
        status, number = event["status"], event.get("retry_count", 0)
        start, end = (nanoseconds(event[f]) if f in event else None for f in ("start_ts", "end_ts"))
        run = self.runs[pipeline].setdefault(event["run_id"], Run())
        run.seen, run.lost = time, False
        if event.get("sla_target_ms"):
            self.targets[pipeline] = event["sla_target_ms"]
        latest = run.latest()
        if number not in run.attempts and number > 0:
            self.count("pipeline_retries_total", pipeline_id=pipeline)
        attempt = run.attempts.setdefault(number, {"started": False, "status": None, "start": None, "end": None})
        late = attempt["status"] is not None or (status == "QUEUED" and attempt["started"])
        if start is not None:
            attempt["start"] = min(start, attempt["start"] or start)
            run.start = min(start, run.start or start)
        if status != "QUEUED" and run.began is None:
            run.began = time * 10**6
        replaces = not late and (latest is None or number >= latest)
        for field, name in (("sla_target_ms", "target"), ("max_retries", "max_retries"), ("trigger_type", "trigger")):
            if event.get(field) is not None and (replaces or getattr(run, name) is None):
                setattr(run, name, event[field])
        if not attempt["started"] and (status == "RUNNING" or (status in TERMINAL and start is not None)):
            attempt["started"] = True
            self.count("pipeline_runs_started_total", pipeline_id=pipeline)
        if number > (latest or 0):
            run.end = None
        if status in TERMINAL and attempt["status"] is None:
            attempt["status"], attempt["end"] = status, end
            if number == run.latest():
                run.end = end if end is not None else time * 10**6
            self.ended(event, attempt, run, pipeline, time)
        ended = run.end if run.status() in TERMINAL else None
        if ended is None and status in TERMINAL:
            ended = end if end is not None else time * 10**6
        if not run.missed and ended is not None and run.over(ended):
            self.missed(run, pipeline)

    def ended(self, event, attempt, run, pipeline, time):
        status = attempt["status"]
        labels = {"pipeline_id": pipeline, "trigger_type": event.get("trigger_type", run.trigger), "status": status}
        self.count("pipeline_runs_total", **labels)
        start, end = attempt["start"], attempt["end"]
        if start is not None and end is not None and end >= start:
            self.observe("pipeline_run_duration_seconds", RUN_BUCKETS, seconds(end - start), **labels)
        when = seconds(end if end is not None else time * 10**6)
        self.latest("pipeline_last_run_timestamp_seconds", when, pipeline_id=pipeline, status=status)
        if status == "FAILED" and run.max_retries and run.max_retries == event.get("retry_count", 0):
            self.count("pipeline_retries_exhausted_total", pipeline_id=pipeline)

    def missed(self, run, pipeline):
        run.missed = True
        self.count("pipeline_sla_missed_total", pipeline_id=pipeline)

    def judge(self, op, said, time):
        run = self.runs[said["pipeline_id"]].get(said["run_id"])
        if run is None or not run.attempts or run.latest() != said["retry_count"] or run.status() in TERMINAL:
            return
        if op == "sla" and not run.missed and run.over(time * 10**6):
            self.missed(run, said["pipeline_id"])
        if op == "lost" and not run.lost and time - run.seen > said["lost_after_ms"]:
            run.lost = True
            self.count("pipeline_runs_lost_total", pipeline_id=said["pipeline_id"])

    # The end.
    def gauges(self):
        for pipeline, runs in self.runs.items():
            told = [run for run in runs.values() if run.attempts]
            if not told:
                continue
            active = [run for run in told if run.status() == "RUNNING"]
            self.samples["pipeline_runs_active", (("pipeline_id", pipeline),)] = len(active)
            if active:
                oldest = min(run.begin() for run in active)
                name = "pipeline_oldest_active_run_start_timestamp_seconds"
                self.samples[name, (("pipeline_id", pipeline),)] = seconds(oldest)
            if pipeline in self.targets:
                name = "pipeline_sla_target_seconds"
                self.samples[name, (("pipeline_id", pipeline),)] = self.targets[pipeline] / 1000

    def lines(self):
        self.gauges()
        for (name, labels), counts in self.histograms.items():
            for bound, count in counts["buckets"] + [["+Inf", counts["count"]]]:
                self.samples[name + "_bucket", tuple(sorted(labels + (("le", str(bound)),)))] = count
            self.samples[name + "_sum", labels] = counts["sum"]
            self.samples[name + "_count", labels] = counts["count"]
        for (name, labels), value in self.samples.items():
            text = ",".join(f'{label}="{value}"' for label, value in labels)
            yield f"{name}{{{text}}} {value!r}"
        for pipeline, runs in self.runs.items():
            for run_id, run in runs.items():
                if run.attempts:
                    attempts = ",".join(f"{n}:{a['status'] or '-'}" for n, a in sorted(run.attempts.items()))
                    yield f"run {pipeline} {run_id} {run.status()} {int(run.missed)} {attempts}"


def main():
    reference = Reference()
    for line in sys.stdin:
        reference.record(json.loads(line))
    print("\n".join(sorted(reference.lines())))


if __name__ == "__main__":
    main()
