"""Usage: schemas.py DIR

Holds the cases of DIR/cases.jsonl against the JSON Schemas of DIR. A case is valid if
the parser accepts it, unless `schema` says what a schema can say of it.
"""
import json
import pathlib
import sys

import jsonschema

FILES = {"log": "log_event", "run": "run_event", "lineage": "lineage_event", "job": "job_log_entry"}


def main(directory):
    validators = {}
    for kind, name in FILES.items():
        schema = json.loads((directory / f"{name}.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validators[kind] = jsonschema.Draft202012Validator(schema)
    wrong = 0
    cases = (directory / "cases.jsonl").read_text().splitlines()
    for number, line in enumerate(cases, 1):
        case = json.loads(line)
        expected = case.get("schema", case["refused"] == "")
        if validators[case["kind"]].is_valid(case["event"]) != expected:
            wrong += 1
            print(f"cases.jsonl:{number}: expected {'valid' if expected else 'invalid'}: {line[:200]}")
    print(f"{wrong} of {len(cases)} cases are judged otherwise")
    return 1 if wrong else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
