#!/usr/bin/env python3
"""Asks Holdpoint's bridge about one call, and ends with 0 only if it is allowed.

    gate.py TOOL SUBJECT [PAYLOAD_JSON]

Exit codes: 0 allow, 10 deny, 11 nobody has decided within WAIT seconds, 12 anything else. Standard library only.
"""

import http.client
import json
import os
import re
import sys
import time
import uuid
from urllib.parse import urlsplit

URL = urlsplit(os.environ.get("BRIDGE_URL", "http://127.0.0.1:7879"))
KEY = os.environ.get("BRIDGE_KEY")
CALL = os.environ.get("CALL_ID") or str(uuid.uuid4())
WAIT, TRIES = int(os.environ.get("WAIT", "300")), int(os.environ.get("TRIES", "6"))
BYTES_MAX = 16 * 1024 * 1024


def stop(code, words):
    print(words, file=sys.stderr)
    sys.exit(code)


def exchange(method, path, body, held):
    """One request. Nothing is followed to another place."""
    kind = http.client.HTTPSConnection if URL.scheme == "https" else http.client.HTTPConnection
    connection = kind(URL.hostname, URL.port, timeout=held + 20)
    headers = {"Idempotency-Key": CALL, "Content-Type": "application/json"} if body else {}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    try:
        connection.request(method, f"{URL.path.rstrip('/')}{path}?wait={held}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read(BYTES_MAX)
    finally:
        connection.close()


def answer(method, path, body, held):
    """The same question again, with the same key, until the bridge can be asked."""
    for attempt in range(1, TRIES + 1):
        try:
            status, headers, text = exchange(method, path, body, held)
            if status != 429 and status < 500:
                return status, headers, text
            trouble = f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            trouble = repr(error)
        if attempt < TRIES:
            time.sleep(attempt)
    stop(12, f"the bridge cannot be asked: {trouble}")


def read(tool, status, headers, text):
    """One header, one body, one status: all three say the same, or it is no answer."""
    words, kinds = headers.get_all("Holdpoint-Decision", []), headers.get_all("Content-Type", [])
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    known = {("allow", 200), ("deny", 200), ("pending", 202)}
    if (
        len(words) != 1
        or (words[0], status) not in known
        or kinds != ["application/json"]
        or not isinstance(said, dict)
        or said.get("decision") != words[0]
        or said.get("tool_name") != tool
        or said.get("mode") != "check"
        or not re.fullmatch("op_[0-9a-f]{40}", str(said.get("id")))
    ):
        stop(12, f"not an answer: status {status}")
    return said


def main(tool, subject, payload="{}"):
    question = {"tool_name": tool, "subject": subject, "payload": json.loads(payload)}
    method, path, body, until = "POST", "/v1/decisions", json.dumps(question), time.monotonic() + WAIT
    while True:
        held = max(0, min(50, int(until - time.monotonic())))
        said = read(tool, *answer(method, path, body, held))
        if said["decision"] == "allow":
            print("allow", said["id"])
            return
        if said["decision"] == "deny":
            stop(10, f"deny: {said.get('detail')} {said.get('message', '')}")
        if time.monotonic() + 1 > until:
            stop(11, f"pending: {said.get('detail')} CALL_ID={CALL}")
        method, path, body = "GET", f"/v1/decisions/{said['id']}", None


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        # Whatever goes wrong is not a yes, and not the 1 of an interpreter that a script may take for something else.
        stop(12, f"cannot ask: {error}")
