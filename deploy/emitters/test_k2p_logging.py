"""Tests of k2p_logging: python3 -m unittest discover -s deploy/emitters"""
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

import k2p_logging

HERE = os.path.dirname(os.path.abspath(__file__))


class Listener:
    """A bridge's POST /api/v1/events, as far as an emitter sees it."""

    def __init__(self):
        self.requests, self.answers = [], []
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.gate.wait(30)
                status = outer.answers.pop(0) if outer.answers else 200
                outer.requests.append((status, self.headers, body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/api/v1/events" % self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def events(self, status=200):
        bodies = [body for code, _, body in self.requests if code == status]
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


class Http(unittest.TestCase):
    def setUp(self):
        self.listener = Listener()
        self.addCleanup(self.listener.close)

    def emitter(self, **options):
        options.setdefault("linger", 0.05)
        handler = k2p_logging.Handler(self.listener.url, "orders", run_id="r1", env="test", **options)
        self.addCleanup(handler.close)
        log = logging.Logger("etl.load")
        log.addHandler(handler)
        return handler, log

    def test_a_log_call_is_a_log_event(self):
        handler, log = self.emitter(tags={"owner": "team"})
        log.warning("read %d of %s", 3, "x", extra={"k2p": {"step": "load", "metrics": {"rows_read": 3}, "shard": 7}})
        try:
            raise ValueError("bad\nrow")
        except ValueError:
            log.exception("failed")
        self.assertTrue(handler.flush(10))
        first, second = self.listener.events()
        self.assertEqual([first[k] for k in ("level", "message", "component", "pipeline_id", "run_id", "env", "step")],
                         ["WARN", "read 3 of x", "etl.load", "orders", "r1", "test", "load"])
        self.assertEqual((first["metrics"], first["fields"], first["tags"]),
                         ({"rows_read": 3}, {"shard": 7}, {"owner": "team"}))
        self.assertRegex(first["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual(second["error"]["type"], "builtins.ValueError")
        self.assertIn("bad\nrow", second["error"]["stack"])
        status, headers, _ = self.listener.requests[0]
        self.assertEqual((status, headers["Content-Type"]), (200, "application/x-ndjson"))

    def test_a_run_tells_its_states(self):
        handler, _ = self.emitter()
        with handler.run(trigger_type="schedule", sla_target_ms=1000) as run:
            run.step("load")
        with self.assertRaises(KeyError):
            with handler.run(retry_count=1):
                raise KeyError("x")
        with handler.run(retry_count=2) as run:
            run.partial()
        self.assertTrue(handler.flush(10))
        events = self.listener.events()
        self.assertEqual([(e["status"], e["retry_count"]) for e in events],
                         [("RUNNING", 0), ("RUNNING", 0), ("SUCCEEDED", 0), ("RUNNING", 1), ("FAILED", 1),
                          ("RUNNING", 2), ("PARTIAL", 2)])
        self.assertEqual(events[2]["current_step"], "load")
        self.assertEqual(events[4]["last_error"]["type"], "builtins.KeyError")
        self.assertTrue(all("start_ts" in e for e in events) and "end_ts" in events[2])

    def test_a_retry_has_the_same_id_and_the_next_batch_another(self):
        self.listener.answers = [503, 429, 200]
        handler, log = self.emitter()
        log.error("one")
        self.assertTrue(handler.flush(20))
        log.error("two")
        self.assertTrue(handler.flush(20))
        ids = [headers["k2p-id"] for _, headers, _ in self.listener.requests]
        self.assertEqual(len(ids), 4)
        self.assertEqual(len(set(ids[:3])), 1)
        self.assertNotEqual(ids[2], ids[3])
        self.assertRegex(ids[0], r"^[0-9a-f-]{36};1$")
        self.assertEqual(handler.stats()["delivered"], 2)

    def test_what_is_refused_is_dropped_and_counted(self):
        self.listener.answers = [400]
        handler, log = self.emitter()
        log.error("x")
        self.assertTrue(handler.flush(10))
        self.assertEqual((handler.stats()["refused"], handler.stats()["delivered"]), (1, 0))
        handler.close()
        self.assertIn("1 events were dropped", self.listener.events()[-1]["message"])

    def test_the_job_never_waits_and_every_drop_is_counted(self):
        self.listener.gate.clear()
        handler, log = self.emitter(queue_size=50, batch_size=10)
        start = time.monotonic()
        for i in range(2000):
            log.info("event %d", i)
        # A listener that answers after 30 s would be felt.
        self.assertLess(time.monotonic() - start, 15)
        stats = handler.stats()
        self.assertEqual(stats["emitted"], 2000)
        self.assertGreater(stats["queue_full"], 1500)
        self.listener.gate.set()
        self.assertTrue(handler.flush(20))
        stats = handler.stats()
        self.assertEqual(stats["delivered"] + stats["dropped"], 2000)
        self.assertEqual(len(self.listener.events()), stats["delivered"])
        self.assertLessEqual(max(len(b.splitlines()) for _, _, b in self.listener.requests), 10)

    def test_an_event_that_cannot_be_written_is_counted(self):
        handler, log = self.emitter()
        log.info("%d", "no number")
        loop = {}
        loop["self"] = loop
        self.assertFalse(handler.event(loop))
        self.assertEqual((handler.stats()["invalid"], handler.stats()["waiting"]), (2, 0))

    def test_the_end_of_the_process_flushes(self):
        script = ("import logging, k2p_logging as k; k.install(%r, 'p', linger=60); "
                  "logging.error('last words')" % self.listener.url)
        subprocess.run([sys.executable, "-c", script], cwd=HERE, check=True, timeout=60, stderr=subprocess.DEVNULL)
        self.assertEqual([e["message"] for e in self.listener.events()], ["last words"])

    def test_a_bridge_that_is_away_does_not_hold_the_end(self):
        handler = k2p_logging.Handler("http://127.0.0.1:1/x", "p", linger=0.01, retries=1, flush_timeout=20)
        handler.event({"run_id": "r", "status": "RUNNING"})
        handler.close()
        self.assertEqual(handler.stats()["not_delivered"], 1)


class File(unittest.TestCase):
    def test_many_threads_write_whole_lines(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "events.jsonl")
            handler = k2p_logging.Handler(path, "p", run_id="r", linger=0.01, batch_size=7)
            log = logging.Logger("x")
            log.addHandler(handler)
            threads = [threading.Thread(target=lambda n=n: [log.info("%d-%d", n, i) for i in range(200)])
                       for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertTrue(handler.flush(20))
            handler.close()
            with open(path, encoding="utf-8") as lines:
                messages = sorted(json.loads(line)["message"] for line in lines)
            self.assertEqual(messages, sorted("%d-%d" % (n, i) for n in range(4) for i in range(200)))

    def test_a_forked_child_ships_its_own(self):
        if not hasattr(os, "fork"):
            self.skipTest("no fork here")
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "events.jsonl")
            script = ("import os, logging, k2p_logging as k\n"
                      "h = k.install(%r, 'p', linger=0.01)\n"
                      "logging.error('parent')\n"
                      "h.flush(10)\n"
                      "if os.fork() == 0:\n"
                      "    logging.error('child'); h.flush(10); os._exit(0)\n"
                      "os.wait()\n" % path)
            subprocess.run([sys.executable, "-c", script], cwd=HERE, check=True, timeout=60, stderr=subprocess.DEVNULL)
            with open(path, encoding="utf-8") as lines:
                self.assertEqual(sorted(json.loads(line)["message"] for line in lines), ["child", "parent"])


if __name__ == "__main__":
    unittest.main()
