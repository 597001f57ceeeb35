// Asks Holdpoint's bridge about one call, and ends with 0 only if it is allowed.
//   node gate.ts TOOL SUBJECT [PAYLOAD_JSON]
// Exit codes: 0 allow, 10 deny, 11 nobody has decided within WAIT seconds, 12 anything else.
// Node 22.18 or newer runs it as it is; there is nothing to install.

type Decision = { decision: string; tool_name: string; mode: string; id: string; detail?: string; message?: string };

const { BRIDGE_URL = "http://127.0.0.1:7879", BRIDGE_KEY, CALL_ID = crypto.randomUUID() } = process.env;
const [wait, tries] = [Number(process.env.WAIT ?? "300"), Number(process.env.TRIES ?? "6")];
const statuses: Record<string, number> = { allow: 200, deny: 200, pending: 202 };

class Stop extends Error {
  code: number;
  constructor(code: number, words: string) {
    super(words);
    this.code = code;
  }
}

/** The same question again, with the same key, until the bridge can be asked. */
async function answer(method: string, path: string, body: string | undefined, held: number): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) Object.assign(headers, { "idempotency-key": CALL_ID, "content-type": "application/json" });
  if (BRIDGE_KEY) headers.authorization = `Bearer ${BRIDGE_KEY}`;
  let trouble = "";
  for (let attempt = 1; attempt <= tries; attempt += 1) {
    try {
      const signal = AbortSignal.timeout((held + 20) * 1000);
      // Nothing is followed to another place.
      const url = `${BRIDGE_URL}${path}?wait=${held}`;
      const response = await fetch(url, { method, headers, body, signal, redirect: "manual" });
      const text = await response.text();
      if (response.status !== 429 && response.status < 500) return new Response(text || null, response);
      trouble = `status ${response.status}`;
    } catch (error) {
      trouble = String(error);
    }
    if (attempt < tries) await new Promise((resolve) => setTimeout(resolve, attempt * 1000));
  }
  throw new Stop(12, `the bridge cannot be asked: ${trouble}`);
}

/** One header, one body, one status: all three say the same, or it is no answer. */
async function read(tool: string, response: Response): Promise<Decision> {
  const word = response.headers.get("holdpoint-decision") ?? "";
  const said = (await response.json().catch(() => null)) as Decision | null;
  const isOne =
    Object.hasOwn(statuses, word) &&
    statuses[word] === response.status &&
    response.headers.get("content-type") === "application/json" &&
    said?.decision === word &&
    said.tool_name === tool &&
    said.mode === "check" &&
    typeof said.id === "string" &&
    /^op_[0-9a-f]{40}$/.test(said.id);
  if (!isOne) throw new Stop(12, `not an answer: status ${response.status}`);
  return said;
}

async function gate(tool?: string, subject?: string, payload = "{}"): Promise<string> {
  if (!tool || !subject || !Number.isFinite(wait)) throw new Stop(12, "usage: gate.ts TOOL SUBJECT [PAYLOAD_JSON]");
  const question = JSON.stringify({ tool_name: tool, subject, payload: JSON.parse(payload) });
  const until = performance.now() + wait * 1000;
  let [method, path, body]: [string, string, string | undefined] = ["POST", "/v1/decisions", question];
  for (;;) {
    const held = Math.max(0, Math.min(50, Math.floor((until - performance.now()) / 1000)));
    const said = await read(tool, await answer(method, path, body, held));
    if (said.decision === "allow") return `allow ${said.id}`;
    if (said.decision === "deny") throw new Stop(10, `deny: ${said.detail} ${said.message ?? ""}`);
    if (performance.now() + 1000 > until) throw new Stop(11, `pending: ${said.detail} CALL_ID=${CALL_ID}`);
    [method, path, body] = ["GET", `/v1/decisions/${said.id}`, undefined];
  }
}

process.exitCode = 12;
gate(...process.argv.slice(2)).then(
  (words) => {
    console.log(words);
    process.exitCode = 0;
  },
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = error instanceof Stop ? error.code : 12;
  },
);
