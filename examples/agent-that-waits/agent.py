"""An agent that can be kept waiting. No model: what one would decide is in `propose`.

    agent.py JOB -- COMMAND...
    agent.py JOB -- URL

JOB is a JSON file: {"name": ..., "refunds": [{"order_id": ..., "amount": ...}, ...]}. COMMAND starts the tool server, or
URL is where it is.

All that it knows of the approval is what the tool's result says: the text, which is written for a model, and
`_meta["dev.holdpoint/decision"]`, which is the same for a program:

    status      what happened
    retry       what to do next: "same_call", "ask_again", "other_call" or "no"
    message     a reviewer's words
    thread_id   the review, to name it to a person

Exit codes: 0 all refunds are done, 1 some were refused, 3 a person has to look before anything goes on.
"""

import asyncio
import json
import os
import re
import sys

from mcp import Client, StdioServerParameters

DECISION = "dev.holdpoint/decision"
TASK = "dev.holdpoint/task"

# Longer and longer between two calls that are the same; a proxy that holds a call makes us wait anyway.
PAUSES_SECONDS = [0.2, 0.5, 1, 2, 5]
# How often to ask anew where nobody could answer.
ASKED_ANEW_MAX = 4


class PersonNeeded(Exception):
    """Nothing may go on before a person has looked."""


def say(text):
    print(text, flush=True)


def propose(arguments, words):
    """Another proposal, as the reviewer wants it; none if the words say nothing that we understand."""
    at_most = re.search(r"at most (\d+)", words or "")
    if at_most is None:
        return None
    return {**arguments, "amount": min(arguments["amount"], int(at_most.group(1)))}


def pause(count):
    return PAUSES_SECONDS[min(count, len(PAUSES_SECONDS) - 1)]


async def refund(client, job, arguments):
    """Whether it is done."""
    waited = asked_anew = 0
    while True:
        name = f"order {arguments['order_id']}"
        result = await client.call_tool("refund", arguments, meta={TASK: job})
        text = "\n".join(block.text for block in result.content if block.type == "text")
        decision = (result.meta or {}).get(DECISION)
        if decision is None:
            # The tool's own answer.
            say(f"{name}: {text}")
            return not result.is_error

        status, retry = decision["status"], decision["retry"]
        if status == "outcome_unknown":
            raise PersonNeeded(f"{name}: {text}")
        if status == "already_done":
            say(f"{name}: already done, by an earlier call")
            return True
        if status == "changes_requested":
            changed = propose(arguments, decision["message"])
            if changed is None or changed == arguments:
                raise PersonNeeded(f"{name}: cannot make of it what the reviewer wants: {decision['message']}")
            say(f"{name}: {decision['message']} -> {changed['amount']} instead of {arguments['amount']}")
            arguments = changed
        elif retry == "same_call":
            # Exactly the same: it joins the review that is open, or collects the result.
            review = f", review {decision['thread_id']}" if decision["thread_id"] else ""
            say(f"{name}: {status}{review}")
            await asyncio.sleep(pause(waited))
            waited += 1
        elif retry == "ask_again" and asked_anew < ASKED_ANEW_MAX:
            say(f"{name}: {status}, asking again")
            await asyncio.sleep(pause(asked_anew))
            asked_anew += 1
        else:
            # "other_call": we have no other idea. "no": there is none to have. Or nobody answers.
            say(f"{name}: {status}, given up: {decision['message'] or text}")
            return False


async def main():
    path, dashes, *command = sys.argv[1:]
    if dashes != "--" or not command:
        sys.exit(__doc__)
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    program, *arguments = command
    is_done = True
    # Handed on as it is: the proxy finds Gate in it.
    server = StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
    if program.startswith("http://") or program.startswith("https://"):
        server = program
    async with Client(server) as client:
        for order in job["refunds"]:
            try:
                is_done &= await refund(client, job["name"], order)
            except PersonNeeded as needed:
                say(f"stopped; a person has to look: {needed}")
                return 3
    return 0 if is_done else 1


sys.exit(asyncio.run(main()))
