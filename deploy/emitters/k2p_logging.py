"""Log events and run events for Kafka2Prom, from any Python job.

One file, standard library only, Python 3.8 or newer: copy it beside the job.

    import logging, k2p_logging
    handler = k2p_logging.install(
        "http://bridge:9527/api/v1/events",       # or a file: "/var/log/job/events.jsonl"
        pipeline_id="orders", run_id="run-42", env="prod")
    log = logging.getLogger("etl.load")
    log.info("loaded", extra={"k2p": {"step": "load", "metrics": {"rows_written": 10, "duration_ms": 5}}})
    with handler.run(trigger_type="schedule", sla_target_ms=600000) as run:
        run.step("load")

The job never waits for it: events go into a bounded queue that one thread empties in
batches. When the queue is full, or a batch could not be delivered, events are dropped and
counted: see `handler.stats()`. A log event at the end tells how many (component
`k2p_logging`). Passwords and the like are masked by the bridge, not here: what must not
leave the job must not be logged.
"""
import atexit
import datetime
import json
import logging
import os
import queue
import threading
import time
import traceback
import urllib.error
import urllib.request
import uuid

__all__ = ["Handler", "Run", "install"]

_LEVELS = ((logging.CRITICAL, "FATAL"), (logging.ERROR, "ERROR"), (logging.WARNING, "WARN"),
           (logging.INFO, "INFO"), (0, "DEBUG"))
#: What a log call may say in extra={"k2p": {...}}; other keys go below "fields".
_EXTRA = ("step", "metrics", "correlation_id", "tags", "component", "error")
#: Longer texts are cut: a record of Kafka has a limit.
MAX_TEXT = 64 * 1024
MAX_BATCH_BYTES = 512 * 1024


def _now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _cut(text):
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " [cut]"


class _File:
    """Appends to a file, in one write per batch: an agent or Spark's log collection takes it."""

    def __init__(self, path):
        self._path = path

    def send(self, _batch_id, body, _timeout):
        # Opened each time: whoever rotates the file need not tell.
        with open(self._path, "ab", buffering=0) as out:
            out.write(body)
        return True


class _Http:
    """POST as NDJSON. The batch has an id, so that a retry counts once."""

    def __init__(self, url, headers):
        self._url = url
        self._headers = dict(headers or {})

    def send(self, batch_id, body, timeout):
        headers = {"Content-Type": "application/x-ndjson", "k2p-id": batch_id}
        headers.update(self._headers)
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                response.read()
            return True
        except urllib.error.HTTPError as error:
            error.close()
            # What the bridge refuses once, it refuses again; 429 and 5xx may pass.
            if error.code != 429 and error.code < 500:
                raise _Refused(error.code) from None
            return False
        except OSError:
            return False


class _Refused(Exception):
    """The bridge does not take this batch, now or later."""


class Handler(logging.Handler):
    """A logging handler that ships log events, and a helper for run events.

    target: an http(s) URL of POST /api/v1/events, or a path.
    queue_size: events that may wait; what comes then is dropped (`queue_full`).
    batch_size, linger: a batch goes when it is full, or `linger` seconds after its first event.
    retries, timeout: of a batch; afterwards it is dropped (`not_delivered`).
    flush_timeout: the longest that the end of the process waits, in seconds.
    """

    def __init__(self, target, pipeline_id, run_id=None, env=None, correlation_id=None, tags=None,
                 queue_size=10000, batch_size=500, linger=1.0, retries=5, timeout=10.0,
                 flush_timeout=10.0, headers=None, level=logging.NOTSET):
        super().__init__(level)
        self.pipeline_id = pipeline_id
        self.run_id = run_id or os.environ.get("K2P_RUN_ID") or str(uuid.uuid4())
        self._fixed = {"env": env, "pipeline_id": pipeline_id, "run_id": self.run_id,
                       "correlation_id": correlation_id, "tags": tags}
        self._sink = _Http(target, headers) if "://" in target else _File(target)
        self._queue = queue.Queue(maxsize=queue_size)
        self._batch_size, self._linger = batch_size, linger
        self._retries, self._timeout, self._flush_timeout = retries, timeout, flush_timeout
        self._incarnation, self._sequence = str(uuid.uuid4()), 0
        self._count_lock = threading.Lock()
        self._counts = {"emitted": 0, "delivered": 0, "queue_full": 0, "not_delivered": 0, "refused": 0,
                        "invalid": 0}
        self._stop, self._pid, self._thread = threading.Event(), None, None
        self._start()
        atexit.register(self.close)

    # --- what the job calls -------------------------------------------------------

    def emit(self, record):
        # A handler must not log through itself, and must not raise into the job.
        if record.name == __name__:
            return
        try:
            self._offer(self._log_event(record))
        except Exception:  # pylint: disable=broad-except
            self._count("invalid")

    def event(self, event):
        """Ships any event of the four schemas (a dictionary). True if it was queued."""
        try:
            return self._offer({k: v for k, v in event.items() if v is not None})
        except Exception:  # pylint: disable=broad-except
            self._count("invalid")
            return False

    def run(self, **fields):
        """A run event now, and one at the end of the `with` block. See `Run`."""
        return Run(self, fields)

    def stats(self):
        """Counts of events: emitted = delivered + dropped (by reason) + those that wait."""
        with self._count_lock:
            counts = dict(self._counts)
        counts["dropped"] = sum(counts[k] for k in ("queue_full", "not_delivered", "refused", "invalid"))
        counts["waiting"] = counts["emitted"] - counts["delivered"] - counts["dropped"]
        return counts

    def flush(self, timeout=None):
        """Waits until what was emitted is delivered or dropped; false if that takes longer."""
        deadline = time.monotonic() + (self._flush_timeout if timeout is None else timeout)
        while self.stats()["waiting"] > 0:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def close(self):
        if not self._stop.is_set():
            dropped = self.stats()["dropped"]
            if dropped:
                self._offer(self._base("WARN", "%d events were dropped by the emitter" % dropped, "k2p_logging"))
            self._stop.set()
            if self._thread is not None and self._pid == os.getpid():
                # Bounded: a bridge that is away must not hold the job's end.
                self._thread.join(self._flush_timeout)
            atexit.unregister(self.close)
        super().close()

    # --- events -------------------------------------------------------------------

    def _base(self, level, message, component):
        event = {"timestamp": _now(), "level": level, "component": component, "message": _cut(message)}
        event.update({k: v for k, v in self._fixed.items() if v is not None})
        return event

    def _log_event(self, record):
        level = next(name for number, name in _LEVELS if record.levelno >= number)
        event = self._base(level, record.getMessage(), record.name)
        event["timestamp"] = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc).isoformat(
            timespec="microseconds").replace("+00:00", "Z")
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            event["error"] = {"type": "%s.%s" % (kind.__module__, kind.__qualname__), "message": _cut(str(error)),
                              "stack": _cut("".join(traceback.format_exception(kind, error, trace)))}
        extra = getattr(record, "k2p", None)
        if isinstance(extra, dict):
            for key, value in extra.items():
                if key in _EXTRA:
                    event[key] = value
                else:
                    event.setdefault("fields", {})[key] = value
        return event

    # --- the queue ----------------------------------------------------------------

    def _count(self, what, n=1):
        with self._count_lock:
            self._counts[what] += n
            if what == "invalid":
                self._counts["emitted"] += n

    def _offer(self, event):
        line = json.dumps(event, ensure_ascii=False, default=str, separators=(",", ":")).encode("utf-8", "replace")
        if self._pid != os.getpid():
            # After a fork the thread is the parent's, and so is what waits.
            self._forked()
        self._count("emitted")
        try:
            self._queue.put_nowait(line + b"\n")
            return True
        except queue.Full:
            self._count("queue_full")
            return False

    def _forked(self):
        self._queue = queue.Queue(maxsize=self._queue.maxsize)
        self._incarnation, self._sequence = str(uuid.uuid4()), 0
        self._count_lock = threading.Lock()
        self._counts = dict.fromkeys(self._counts, 0)
        self._stop = threading.Event()
        self._start()

    def _start(self):
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="k2p-logging", daemon=True)
        self._thread.start()

    def _work(self):
        while True:
            batch = self._take()
            if batch:
                self._deliver(batch)
            elif self._stop.is_set():
                return

    def _take(self):
        batch, size, deadline = [], 0, None
        while len(batch) < self._batch_size and size < MAX_BATCH_BYTES:
            wait = 0.1 if deadline is None else deadline - time.monotonic()
            try:
                # At the end what is there goes at once.
                line = self._queue.get_nowait() if self._stop.is_set() or wait <= 0 else self._queue.get(
                    timeout=min(wait, 0.1))
            except queue.Empty:
                if deadline is None or self._stop.is_set() or time.monotonic() >= deadline:
                    break
                continue
            batch.append(line)
            size += len(line)
            if deadline is None:
                deadline = time.monotonic() + self._linger
        return batch

    def _deliver(self, batch):
        self._sequence += 1
        batch_id = "%s;%d" % (self._incarnation, self._sequence)
        body, pause = b"".join(batch), 0.2
        for attempt in range(self._retries + 1):
            try:
                if self._sink.send(batch_id, body, self._timeout):
                    self._count("delivered", len(batch))
                    return
            except _Refused:
                self._count("refused", len(batch))
                return
            except Exception:  # pylint: disable=broad-except
                pass
            if attempt < self._retries:
                # The end of the job cuts the wait short, not the attempts.
                self._stop.wait(pause)
                pause = min(pause * 2, 10.0)
        self._count("not_delivered", len(batch))


class Run:
    """One attempt of a run: RUNNING at the start of the `with` block, at its end SUCCEEDED,
    or FAILED with the exception, which goes on. `partial()` makes it PARTIAL instead."""

    def __init__(self, handler, fields):
        self._handler = handler
        self._fields = dict(fields)
        self._fields.setdefault("retry_count", 0)
        self._start, self._status = None, "SUCCEEDED"

    def __enter__(self):
        self._start = _now()
        self._send("RUNNING")
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self._status = "FAILED"
            self._fields["last_error"] = {"type": "%s.%s" % (kind.__module__, kind.__qualname__),
                                          "message": _cut(str(error)),
                                          "stack": _cut("".join(traceback.format_exception(kind, error, trace)))}
        self._send(self._status, end_ts=_now())
        return False

    def step(self, name):
        """Says which step runs now."""
        self._fields["current_step"] = name
        self._send("RUNNING")

    def partial(self):
        """The run ends PARTIAL unless it fails."""
        self._status = "PARTIAL"

    def _send(self, status, **more):
        event = {"run_id": self._handler.run_id, "pipeline_id": self._handler.pipeline_id, "status": status,
                 "start_ts": self._start}
        event.update(self._fields)
        event.update(more)
        self._handler.event(event)


def install(target, pipeline_id, logger=None, **options):
    """Makes a handler and adds it to a logger (the root by default)."""
    handler = Handler(target, pipeline_id, **options)
    (logger or logging.getLogger()).addHandler(handler)
    return handler
