#!/usr/bin/env python3
"""Checks that in a Dify workflow nothing risky runs without a yes of Holdpoint.

    python3 lint.py [--harmless NODE]… FILE…

It needs PyYAML, and prints a line for each finding: file, rule, node, what is wrong. 0: none; 1: some; 2: a file cannot
be read.

- A *question* is an http-request to `{{#env.BRIDGE_URL#}}/v1/decisions`; a *claim* one to `{{#QUESTION.headers.location#}}/claim`.
- *Risky* is every node that may do something outside the workflow: http-request (but for those to the bridge), tool, code,
  agent, and every kind that this file does not know. `--harmless` takes one out, by its id.
- A risky node has to be unreachable but through a case of an If-Else which requires of one question or claim that the status
  is 200, that the header `holdpoint-decision` is `allow`, and that the run has an id.

What it cannot see: what an LLM node with tools of its own does, what another workflow does, and whether the bridge's address
is the bridge's.
"""

import argparse
import json
import re
import sys
from collections import Counter

import yaml

VERSION_MAX = (0, 6, 0)
BRIDGE = "{{#env.BRIDGE_URL#}}/v1/"
QUESTION = re.compile(r"\{\{#env\.BRIDGE_URL#\}\}/v1/decisions(\?[^{}#]*)?")
CLAIM = re.compile(r"\{\{#([A-Za-z0-9_]+)\.headers\.location#\}\}/claim")
VARIABLE = re.compile(r"\{\{#([A-Za-z0-9_]{1,50}(?:\.[A-Za-z_][A-Za-z0-9_-]*)+)#\}\}")
PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
WAIT = re.compile(r"(?:^|[?&\n ])(?:prefer\s*:\s*)?wait=(\d+)", re.IGNORECASE)
RUN = "sys.workflow_run_id"
# What says who runs, and not what is asked for.
SAID_BY_DIFY = {RUN, "sys.workflow_id", "sys.app_id"}
HARMLESS = frozenset({
    "start", "trigger-webhook", "trigger-schedule", "trigger-plugin", "end", "answer", "if-else", "template-transform",
    "assigner", "variable-assigner", "variable-aggregator", "iteration", "iteration-start", "loop", "loop-start",
    "loop-end", "list-operator", "document-extractor", "question-classifier", "parameter-extractor", "llm",
    "knowledge-retrieval", "human-input",
})
OUTPUTS = {
    "http-request": {"status_code", "body", "headers", "files", "error_message", "error_type"},
    "template-transform": {"output", "error_message", "error_type"},
}
# Seconds: of one workflow run, and what the action needs of them.
RUN_MAX = 1200
ACTION = 60
WAIT_DEFAULT = 25
WAIT_MAX = 300
READ_MAX = 600


class Workflow:
    """One file, and what is wrong with it."""

    def __init__(self, document, harmless):
        self.findings = []
        self.document = document if isinstance(document, dict) else {}
        workflow = self.document.get("workflow") or {}
        graph = workflow.get("graph") or {}
        self.env = {v["name"]: v for v in workflow.get("environment_variables") or []}
        self.conversation = {v["name"] for v in workflow.get("conversation_variables") or []}
        nodes = [node for node in graph.get("nodes") or [] if node.get("type") != "custom-note"]
        self.nodes = {node["id"]: node["data"] for node in nodes}
        self.parents = {node["id"]: node.get("parentId") for node in nodes}
        self.edges = [(e["source"], str(e.get("sourceHandle", "source")), e["target"]) for e in graph.get("edges") or []]
        self.twice = [node for node, count in Counter(node["id"] for node in nodes).items() if count > 1]
        self.harmless = set(harmless)

    def find(self, rule, node, text):
        self.findings.append((rule, node, text))

    # What a node is.

    def kind(self, node):
        return self.nodes[node].get("type")

    def url(self, node):
        return str(self.nodes[node].get("url", "")) if self.kind(node) == "http-request" else ""

    def is_question(self, node):
        return QUESTION.fullmatch(self.url(node)) is not None

    def claimed(self, node):
        """The question of a claim."""
        match = CLAIM.fullmatch(self.url(node))
        return match[1] if match and match[1] in self.nodes and self.is_question(match[1]) else None

    def is_gate(self, node):
        return self.is_question(node) or self.claimed(node) is not None

    def is_risky(self, node):
        is_ours = self.is_gate(node) or self.url(node).startswith(BRIDGE)
        return node not in self.harmless and self.kind(node) not in HARMLESS and not is_ours

    def fields(self, node):
        body = self.nodes[node].get("body") or {}
        data = body.get("data") or []
        return data if isinstance(data, list) else [{"key": "", "value": data}]

    def field(self, node, key):
        return next((str(f.get("value", "")) for f in self.fields(node) if f.get("key") == key), None)

    def header(self, node, name):
        for line in str(self.nodes[node].get("headers") or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return None

    # What a node reads.

    def variables(self, value):
        """Every variable that is named somewhere in `value`."""
        if isinstance(value, str):
            return set(VARIABLE.findall(value))
        if isinstance(value, dict):
            found = set()
            for key, inner in value.items():
                is_selector = key in {"value_selector", "variable_selector", "iterator_selector"} or (
                    key == "value" and "variable" in (value.get("type"), value.get("input_type")))
                if is_selector and isinstance(inner, list) and inner:
                    found.add(".".join(map(str, inner)))
                else:
                    found |= self.variables(inner)
            return found
        return set().union(*map(self.variables, value)) if isinstance(value, list) else set()

    def roots(self, names, seen=()):
        """The same, with what templates are made of in their place."""
        found = set()
        for name in names:
            node = name.split(".")[0]
            if self.nodes.get(node, {}).get("type") == "template-transform" and node not in seen:
                found |= self.roots(self.variables(self.nodes[node].get("variables")), (*seen, node))
            else:
                found.add(name)
        return found

    # The graph.

    def handles(self, node):
        data, kind = self.nodes[node], self.kind(node)
        if kind == "if-else":
            handles = {str(case["case_id"]) for case in data.get("cases") or []} | {"false"}
        elif kind == "question-classifier":
            handles = {str(c["id"]) for c in data.get("classes") or []}
        elif kind == "human-input":
            handles = {str(a["id"]) for a in data.get("user_actions") or []} | {"__timeout"}
        elif kind in {"end", "answer-end", "loop-end"}:
            handles = set()
        else:
            handles = {"source"}
        return handles | ({"fail-branch"} if data.get("error_strategy") == "fail-branch" else set())

    def reached(self, without=()):
        """Nodes that can run if the edges `without` are not there."""
        todo = [node for node in self.nodes if self.kind(node) == "start" or str(self.kind(node)).startswith("trigger-")]
        # A node that nothing leads to is not known to be dead: it may be the start of something.
        targets = {target for _, _, target in self.edges}
        todo += [node for node in self.nodes if node not in targets and not self.parents.get(node)]
        found = set()
        while todo:
            node = todo.pop()
            if node in found or node not in self.nodes:
                continue
            found.add(node)
            todo += [t for s, h, t in self.edges if s == node and (s, h) not in without]
            todo += [child for child, parent in self.parents.items() if parent == node and (
                child == self.nodes[node].get("start_node_id") or child not in targets)]
        return found

    def source(self, selector):
        """Where a value comes from: itself, or what a loop's variable is a copy of, and by which assigner."""
        selector = [str(part) for part in selector or []]
        loop = self.nodes.get(selector[0], {}) if selector else {}
        if loop.get("type") != "loop" or len(selector) != 2:
            return selector, None, []
        starts = [v for v in loop.get("loop_variables") or [] if v.get("label") == selector[1]]
        constants = [v.get("value") if v.get("value_type") == "constant" else "allow" for v in starts]
        copies = set()
        for node, data in self.nodes.items():
            for item in (data.get("items") or []) if data.get("type") == "assigner" else []:
                if [str(part) for part in item.get("variable_selector") or []] != selector:
                    continue
                if item.get("input_type") == "variable" and item.get("operation") == "over-write":
                    copies.add((tuple(map(str, item.get("value") or [])), node))
                elif item.get("input_type") == "constant" and item.get("operation") == "set":
                    constants.append(item.get("value"))
                else:
                    return selector, None, []
        if len(copies) != 1 or not starts:
            return selector, None, []
        (copied, assigner), = copies
        return list(copied), assigner, constants

    def gate_of(self, case):
        """The gate whose yes a case requires."""
        if str(case.get("logical_operator")) != "and":
            return None
        status, decision, has_run = set(), set(), False
        for condition in case.get("conditions") or []:
            operator, value = condition.get("comparison_operator"), str(condition.get("value"))
            selector, assigner, constants = self.source(condition.get("variable_selector"))
            if selector[1:] == ["status_code"] and operator == "=" and value == "200":
                if "200" not in map(str, constants):
                    status.add((selector[0], assigner))
            elif selector[1:] == ["headers", "holdpoint-decision"] and operator == "is" and value == "allow":
                if "allow" not in map(str, constants):
                    decision.add((selector[0], assigner))
            elif ".".join(selector) == RUN and operator == "not empty":
                has_run = True
        gates = [gate for gate, _ in status & decision if gate in self.nodes and self.is_gate(gate)]
        return gates[0] if len(gates) == 1 and has_run else None

    # The rules.

    def check(self):
        self.check_document()
        if self.nodes and not self.findings:
            self.check_edges()
            self.check_variables()
            for node in self.nodes:
                if self.kind(node) == "http-request":
                    self.check_request(node)
                if self.is_gate(node):
                    self.check_gate(node)
            self.check_conditions()
            self.check_risky()
        return self.findings

    def check_document(self):
        if self.document.get("kind") != "app":
            self.find("document", "-", "`kind` has to be `app`")
        version = self.document.get("version")
        numbers = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version) if isinstance(version, str) else None
        if not numbers:
            self.find("document", "-", "`version` has to be a text of three numbers")
        elif tuple(map(int, numbers.groups())) > VERSION_MAX:
            self.find("document", "-", "a server of version 1.15 asks before it imports a `version` above 0.6.0")
        if not self.nodes:
            self.find("document", "-", "there are no nodes")
        for node in self.twice:
            self.find("document", node, "two nodes have this id")
        for name in self.harmless - set(self.nodes):
            self.find("document", name, "`--harmless` names a node that is not there")
        for name, variable in self.env.items():
            if name == "BRIDGE_KEY" and (variable.get("value_type") != "secret" or variable.get("value")):
                self.find("secret", "-", "BRIDGE_KEY has to be a secret, and empty in a file")

    def check_edges(self):
        for source, handle, target in self.edges:
            if source not in self.nodes or target not in self.nodes:
                self.find("edge", source, f"its edge to `{target}` has an end that is not there")
            elif handle not in self.handles(source):
                self.find("edge", source, f"it has no handle `{handle}`: that edge is never taken")
        wired = {(source, handle) for source, handle, _ in self.edges}
        for node in self.nodes:
            last_in_container = self.parents.get(node) and not self.is_gate(node) and self.kind(node) != "if-else"
            for handle in sorted(self.handles(node)):
                if (node, handle) not in wired and not last_in_container:
                    self.find("handle", node, f"its handle `{handle}` leads nowhere")

    def check_variables(self):
        for node, data in self.nodes.items():
            for name in sorted(self.variables(data)):
                if not self.resolves(name):
                    self.find("variable", node, f"`{name}` is not there")

    def resolves(self, name):
        source, variable, *_ = name.split(".")
        if source in {"env", "conversation", "sys"}:
            return source == "sys" or variable in (self.env if source == "env" else self.conversation)
        data = self.nodes.get(source)
        if data is None:
            return False
        kind = data.get("type")
        if kind == "start":
            return variable in {v.get("variable") for v in data.get("variables") or []}
        if kind == "trigger-webhook":
            names = {v.get("name") for part in ("headers", "params", "body") for v in data.get(part) or []}
            return variable in {str(name).replace("-", "_") for name in names} | {"_webhook_raw"}
        if kind == "loop":
            return variable in {v.get("label") for v in data.get("loop_variables") or []}
        return variable in OUTPUTS.get(kind, {variable})

    def check_request(self, node):
        data = self.nodes[node]
        outside = [name for name in VARIABLE.findall(self.url(node)) if not name.startswith("env.")]
        if outside and not self.claimed(node):
            self.find("address", node, f"`{outside[0]}` is put into the address as it is: use `params`, or the body")
        for name in VARIABLE.findall(str(data.get("headers") or "")):
            is_index = name.endswith(".index") and self.nodes.get(name[:-6], {}).get("type") == "iteration"
            if not (name.startswith("env.") or name == RUN or is_index):
                self.find("header", node, f"`{name}` in `headers`: a line break in it is another header")
        body = data.get("body") or {}
        text = "".join(str(field.get("value", "")) for field in self.fields(node))
        if body.get("type") == "json" and self.variables(text):
            self.find("json", node, "variables in a JSON body can bring fields of their own: use a form")
        if body.get("type") == "raw-text":
            for name in sorted(self.variables(text)):
                if not self.is_json_template(name.split(".")[0]):
                    self.find("json", node, f"`{name}` in a raw body: use a form, or a template that ends in `| tojson`")
        if any(self.variables(str(field.get("key", ""))) for field in self.fields(node)):
            self.find("json", node, "the name of a field is made of variables")

    def is_json_template(self, node):
        data = self.nodes.get(node, {})
        holes = PLACEHOLDER.findall(str(data.get("template", "")))
        is_safe = all(re.search(r"\|\s*tojson\s*$", hole) for hole in holes)
        return data.get("type") == "template-transform" and is_safe and "{%" not in str(data.get("template"))

    def check_gate(self, node):
        data = self.nodes[node]
        if str(data.get("method")).lower() != "post":
            self.find("gate", node, "it has to be a POST")
        if data.get("error_strategy") != "fail-branch":
            self.find("gate", node, "its `error_strategy` has to be `fail-branch`")
        key = ((data.get("authorization") or {}).get("config") or {}).get("api_key")
        if key != "{{#env.BRIDGE_KEY#}}" or "BRIDGE_KEY" not in self.env:
            self.find("secret", node, "its key has to be `{{#env.BRIDGE_KEY#}}`")
        self.check_name(node)
        self.check_times(node)

    def check_name(self, node):
        name, has_call = self.header(node, "idempotency-key"), False
        if name is None and self.is_question(node):
            task, call = self.field(node, "task_id"), self.field(node, "call_id")
            name, has_call = (f"{task} {call}", True) if task and call else (None, False)
        if name is None:
            self.find("key", node, "it has no `Idempotency-Key` (nor `task_id` and `call_id`)")
            return
        # The second half of a split workflow has the run of the first from its webhook.
        if f"{{{{#{RUN}#}}}}" not in name and not has_call:
            self.find("key", node, f"its `Idempotency-Key` has to contain `{{{{#{RUN}#}}}}`")
        parent = self.parents.get(node)
        if parent and self.kind(parent) == "iteration" and f"{{{{#{parent}.index#}}}}" not in name:
            self.find("key", node, f"each item is another question: add `{{{{#{parent}.index#}}}}` to its key")
        same = [other for other in self.nodes if other != node and self.is_gate(other)
                and self.header(node, "idempotency-key") and self.header(other, "idempotency-key") == name]
        if same:
            self.find("key", node, f"`{same[0]}` has the same key: one yes would do for both")

    def wait(self, node):
        text = f"{self.url(node)}\n{self.header(node, 'prefer') or ''}"
        found = WAIT.search(text)
        return int(found[1]) if found else WAIT_DEFAULT

    def check_times(self, node):
        wait, data = self.wait(node), self.nodes[node]
        read = (data.get("timeout") or {}).get("read") or 0
        retry = data.get("retry_config") or {}
        # Without a setting, Dify tries three times more.
        tries = 1 + (retry.get("max_retries", 3) if retry.get("retry_enabled", True) else 0)
        if self.is_question(node) and (wait > WAIT_MAX or read < wait + 5 or read > READ_MAX):
            self.find("time", node, f"it waits {wait} s of at most {WAIT_MAX}, and reads for {read} s: 5 s more, of at most {READ_MAX}")
        parent = self.parents.get(node)
        rounds = self.nodes[parent].get("loop_count", 1) if parent and self.kind(parent) == "loop" else 1
        pause = retry.get("retry_interval", 1000) / 1000
        longest = (rounds - 1) * wait + tries * read + (tries - 1) * pause
        if longest > RUN_MAX - ACTION:
            self.find("time", node, f"it can take {longest:.0f} s, and a run ends after {RUN_MAX}")

    def check_conditions(self):
        for node, data in self.nodes.items():
            for case in (data.get("cases") or []) if data.get("type") == "if-else" else []:
                for condition in case.get("conditions") or []:
                    selector, _, _ = self.source(condition.get("variable_selector"))
                    if selector[1:] == ["headers", "holdpoint-decision"] and condition.get("comparison_operator") != "is":
                        self.find("operator", node, "a decision is compared with `is`")
                    if selector[:1] and selector[0] in self.nodes and self.is_gate(selector[0]) and selector[1:2] == ["body"]:
                        self.find("operator", node, "the body is for people: compare the header `holdpoint-decision`")

    def check_risky(self):
        allows = {}
        for node, data in self.nodes.items():
            for case in (data.get("cases") or []) if data.get("type") == "if-else" else []:
                gate = self.gate_of(case)
                if gate:
                    allows.setdefault(gate, set()).add((node, str(case["case_id"])))
        guarded = {}
        for node in [node for node in self.nodes if self.is_risky(node)]:
            gates = [gate for gate, edges in allows.items() if node not in self.reached(edges)]
            if not gates:
                self.find("ungated", node, "it can be reached without a yes (status 200, `holdpoint-decision` is `allow`, a run)")
                continue
            # Of several on the way, the last one is its own.
            gate = next((g for g in gates if not any(o != g and o not in self.reached(allows[g]) for o in gates)), gates[-1])
            guarded.setdefault(gate, []).append(node)
            self.check_guarded(node, gate)
        for gate, nodes in guarded.items():
            if len(nodes) > 1:
                self.find("once", nodes[1], f"the yes of `{gate}` is used up by `{nodes[0]}`: ask again, or name it `--harmless`")

    def check_guarded(self, node, gate):
        data = self.nodes[node]
        retry = data.get("retry_config") or {}
        if retry.get("retry_enabled", self.kind(node) == "http-request"):
            self.find("once", node, "`retry_enabled` runs it again on the same yes")
        if self.field(gate, "target") is not None:
            self.find("once", node, f"`{gate}` has the bridge run the tool itself: this would be the second time")
        inside, asked = self.parents.get(node), self.parents.get(gate)
        if inside and (inside != asked or self.kind(inside) == "loop"):
            self.find("once", node, f"`{inside}` can run it again on the same yes")
        shown = self.claimed(gate) or gate
        told = self.roots(self.variables(self.fields(shown)))
        for name in sorted(self.roots(self.variables(data))):
            source = name.split(".")[0]
            if source == "conversation":
                self.find("bound", node, f"`{name}` can change after the yes")
            elif source not in {"env", gate, shown} and name not in told | SAID_BY_DIFY:
                self.find("bound", node, f"`{name}` is not shown to who decides: add it to `{shown}`")


def main():
    parser = argparse.ArgumentParser(description="Checks that nothing risky in a Dify workflow runs without a yes of Holdpoint.")
    parser.add_argument("--harmless", action="append", default=[], metavar="NODE", help="a node that needs no yes, by its id")
    parser.add_argument("--json", action="store_true", help="findings as JSON, one a line")
    parser.add_argument("files", nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    status = 0
    for name in arguments.files:
        try:
            with open(name, encoding="utf-8") as file:
                findings = Workflow(yaml.safe_load(file), arguments.harmless).check()
        except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
            print(f"{name}: cannot be read as a workflow: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
        for rule, node, text in findings:
            status = 1
            if arguments.json:
                print(json.dumps({"file": name, "rule": rule, "node": node, "text": text}))
            else:
                print(f"{name}: {rule}: {node}: {text}")
    return status


if __name__ == "__main__":
    sys.exit(main())
