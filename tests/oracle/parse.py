"""Reads expositions with prometheus_client, the reference reader.

usage: parse.py [(text|openmetrics) FILE]...

Writes one line of JSON per file: {"families": [[name, type, help]...],
"samples": [[name, {label: value}, value, timestamp in seconds or null]...]} in the
order of the file, or {"error": "..."} where the reader refuses it. Values are
Python's shortest exact spelling (inf, -inf, nan), and so is a timestamp that is no finite number.
"""
import json
import math
import sys

from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

READERS = {
    "text": parser.text_string_to_metric_families,
    "openmetrics": openmetrics.parser.text_string_to_metric_families,
}


def read(syntax, path):
    # newline="": a carriage return inside a line is data, not an end of line.
    with open(path, encoding="utf-8", newline="") as file:
        body = file.read()
    families, samples = [], []
    for family in READERS[syntax](body):
        families.append([family.name, family.type, family.documentation])
        for sample in family.samples:
            stamp = None if sample.timestamp is None else float(sample.timestamp)
            if stamp is not None and not math.isfinite(stamp):
                stamp = repr(stamp)
            samples.append([sample.name, sample.labels, repr(float(sample.value)), stamp])
    return {"families": families, "samples": samples}


def main(arguments):
    if len(arguments) % 2:
        sys.exit(__doc__)
    for syntax, path in zip(arguments[::2], arguments[1::2]):
        try:
            reading = read(syntax, path)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            reading = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reading))


main(sys.argv[1:])
