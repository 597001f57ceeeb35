"""Checks examples/copilot-studio: `check_copilot.py FOLDER`. Prints what is wrong, a line each, and fails if anything is.

Public validators say whether the connectors are Swagger 2.0. What Power Platform and Copilot Studio want beyond that is
checked against the schemas beside this file's fixtures, which state the parts that the example uses.
"""

import copy
import json
import pathlib
import struct
import sys

import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV2SpecValidator
from swagger_spec_validator.validator20 import validate_spec

SCHEMAS = pathlib.Path(__file__).parent.parent / "fixtures" / "copilot"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def read(path):
    text = path.read_text(encoding="utf-8")
    return yaml.safe_load(text) if path.suffix == ".yml" else json.loads(text)


def against(schema, document, name):
    """What of `document` the schema does not allow."""
    for error in Draft202012Validator(read(SCHEMAS / schema)).iter_errors(document):
        while error.context:
            error = max(error.context, key=lambda one: len(one.absolute_path))
        yield f"{name}: /{'/'.join(map(str, error.absolute_path))}: {error.message}"


def swagger(document, name):
    try:
        # It writes into what it is given.
        validate_spec(copy.deepcopy(document))
    except Exception as error:  # Each kind of mistake is another class.
        yield f"{name}: {str(error).splitlines()[0]}"
    try:
        for error in OpenAPIV2SpecValidator(document).iter_errors():
            yield f"{name}: {error.message}"
    except Exception as error:  # A reference to nothing is no mistake to it, but an end.
        yield f"{name}: {str(error).splitlines()[0]}"


def named(document, name):
    """What people see has names, and no two operations have the same."""
    seen = set()
    for path, item in document["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is None:
                continue
            if operation["operationId"] in seen:
                yield f"{name}: {operation['operationId']} is there twice"
            seen.add(operation["operationId"])
            if operation["summary"] == operation["description"]:
                yield f"{name}: {method} {path}: the summary says what the description says"
            for parameter in operation.get("parameters", []):
                in_path = "{" + parameter["name"] + "}" in path
                if (parameter["in"] == "path") != in_path:
                    yield f"{name}: {method} {path}: {parameter['name']} is not in the path"


def connector(folder):
    definition = read(folder / "apiDefinition.swagger.json")
    properties = read(folder / "apiProperties.json")
    settings = read(folder / "settings.json")
    yield from swagger(definition, folder.name)
    yield from against("connector.schema.json", definition, f"{folder.name}/apiDefinition")
    yield from against("properties.schema.json", properties, f"{folder.name}/apiProperties")
    yield from named(definition, folder.name)
    for key in ("apiDefinition", "apiProperties", "icon"):
        if not (folder / settings[key]).is_file():
            yield f"{folder.name}: settings.json names {settings[key]}, which is not there"
    icon = (folder / "icon.png").read_bytes()
    if icon[:8] != b"\x89PNG\r\n\x1a\n" or struct.unpack(">II", icon[16:24]) != (100, 100):
        yield f"{folder.name}: the icon is no PNG of 100 by 100"


def topic(path):
    document = read(path)
    yield from against("topic.schema.json", document, path.name)
    ids = []

    def walk(value):
        if isinstance(value, dict):
            if "kind" in value and "id" in value or "condition" in value:
                ids.append(value.get("id"))
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(document)
    if len(ids) != len(set(ids)) or None in ids:
        yield f"{path.name}: two nodes have one id, or one has none"


def main():
    folder = pathlib.Path(sys.argv[1])
    found = [
        *connector(folder / "connector"),
        *connector(folder / "mcp-connector"),
        *topic(folder / "HoldpointGate.topic.mcs.yml"),
    ]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
