"""Runs the steps of a composite GitHub Action as GitHub does, or checks files against the published schemas.

run_action.py run ACTION INPUTS.json OUTPUTS.json    exit code: the first step's that fails
run_action.py check SCHEMA FILE…                     SCHEMA: github-actions or github-workflows
"""

import json
import os
import re
import subprocess
import sys
import tempfile

import yaml

EXPRESSION = re.compile(r"\$\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")


def evaluated(text, inputs, steps):
    def value(match):
        parts = match.group(1).split(".")
        if parts[0] == "inputs":
            return inputs[parts[1]]
        if parts[0] == "steps" and parts[2] == "outputs":
            return steps[parts[1]].get(parts[3], "")
        raise ValueError(f"no such expression: {match.group(0)}")

    return EXPRESSION.sub(value, text)


def run(action, inputs, outputs):
    with open(action, encoding="utf-8") as file:
        action = yaml.safe_load(file)
    with open(inputs, encoding="utf-8") as file:
        given = json.load(file)
    values = {}
    for name, declared in action["inputs"].items():
        if declared.get("required") and name not in given:
            raise ValueError(f"input {name} is missing")
        values[name] = given.get(name, declared.get("default", ""))
    steps, code = {}, 0
    for step in action["runs"]["steps"]:
        if EXPRESSION.search(step["run"]):
            raise ValueError("an expression in the text of a script is run")
        with tempfile.TemporaryDirectory() as folder:
            script, output = os.path.join(folder, "step.sh"), os.path.join(folder, "output")
            with open(script, "w", encoding="utf-8") as file:
                file.write(step["run"])
            open(output, "w", encoding="utf-8").close()
            env = dict(os.environ, GITHUB_OUTPUT=output)
            env.update({name: evaluated(str(text), values, steps) for name, text in step.get("env", {}).items()})
            shell = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}[step["shell"]]
            code = subprocess.run([*shell, script], env=env, check=False).returncode
            with open(output, encoding="utf-8") as file:
                lines = [line.rstrip("\n").split("=", 1) for line in file]
            steps[step["id"]] = dict(lines)
        if code:
            break
    told = {name: evaluated(output["value"], values, steps) for name, output in action["outputs"].items()}
    with open(outputs, "w", encoding="utf-8") as file:
        json.dump(told, file)
    return code


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run(*sys.argv[2:]))
    schema = f"vendor.{sys.argv[2]}"
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *sys.argv[3:]]
    sys.exit(subprocess.run(check, check=False).returncode)
