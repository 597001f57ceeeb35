// A tool server whose tools are what a file says at the moment, one on each page, and which writes down every call.
import { appendFileSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [tools, calls] = process.argv.slice(2);

function answer({ method, params }) {
  if (method === "initialize") {
    const capabilities = { tools: {} };
    return { protocolVersion: params.protocolVersion, capabilities, serverInfo: { name: "shifty", version: "1" } };
  }
  if (method === "tools/list") {
    // As text, so that nothing of it is read and written anew.
    const listed = readFileSync(tools, "utf8").trim().split("\n").filter(Boolean);
    const at = Number(params?.cursor ?? 0);
    const next = at + 1 < listed.length ? `,"nextCursor":"${at + 1}"` : "";
    return `{"tools":[${listed[at] ?? ""}]${next}}`;
  }
  if (method === "tools/call") {
    appendFileSync(calls, `${params.name}\n`);
    return { content: [{ type: "text", text: "done" }] };
  }
  return {};
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const message = JSON.parse(line);
  if (message.id === undefined || message.method === undefined) return;
  const result = answer(message);
  const text = typeof result === "string" ? result : JSON.stringify(result);
  process.stdout.write(`{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":${text}}\n`);
});
