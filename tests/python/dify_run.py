"""Runs workflows of Dify on Dify's own engine.

Reads jobs from standard input, one JSON object a line, and answers each with one line:

    {"file": PATH, "inputs": {…}, "env": {NAME: VALUE}, "run": "the run's id", "edits": [[OLD, NEW], …]}
    {"ended": "GraphRunSucceededEvent", "outputs": {…}, "error": null, "reached": ["start", …]}

`edits` change the file's text first (shorter waits); one that changes nothing is an error. The engine has no webhook
trigger, so a workflow that begins with one gets a start node with the trigger's parameters: what it does after that is
the engine's.
"""

import json
import logging
import sys

import yaml
from graphon.dsl import inspect, loads

logging.disable(logging.CRITICAL)


def prepared(job: dict) -> str:
    with open(job["file"], encoding="utf-8") as file:
        text = file.read()
    for old, new in job.get("edits", []):
        if old not in text:
            raise ValueError(f"{job['file']} has no {old!r}")
        text = text.replace(old, new)
    document = yaml.safe_load(text)
    values = dict(job["env"])
    for variable in document["workflow"]["environment_variables"]:
        variable["value"] = values.pop(variable["name"])
    if values:
        raise ValueError(f"{job['file']} has no variables {sorted(values)}")
    for node in document["workflow"]["graph"]["nodes"]:
        if node["data"]["type"] == "trigger-webhook":
            node["data"] = {
                "type": "start",
                "title": node["data"]["title"],
                "variables": [
                    {"variable": p["name"], "label": p["name"], "type": "paragraph", "required": p["required"]}
                    for p in node["data"]["params"]
                ],
            }
    return yaml.safe_dump(document, allow_unicode=True)


def run(job: dict) -> dict:
    text = prepared(job)
    plan = inspect(text)
    context = {} if job["run"] is None else {"workflow_run_id": job["run"]}
    answer = {"loads": str(plan.load_status), "ended": None, "outputs": None, "error": None, "reached": []}
    try:
        engine = loads(text, workflow_id="workflow", start_inputs=job["inputs"], run_context=context)
        for event in engine.run():
            kind = type(event).__name__
            if kind == "NodeRunStartedEvent":
                answer["reached"].append(event.node_id)
            answer["ended"] = kind
            answer["outputs"] = getattr(event, "outputs", None)
            answer["error"] = getattr(event, "error", None)
    except Exception as error:
        # The engine raises what ended the run after it has told of it.
        answer["error"] = f"{type(error).__name__}: {error}"
    return answer


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)), default=str), flush=True)


if __name__ == "__main__":
    main()
