// One way to drive every client: commands as JSON lines on standard input, events as JSON lines on standard output.
//
//   argv[2]   {"stdio": ["cmd", "arg", ...], "env": {...}, "cwd": "..."} or {"http": "URL", "headers": {...}},
//             and optionally "era": "legacy" | "auto" | "2026-07-28" (clients of one era ignore it), and
//             "answers": {"elicitation": {...}, "sampling": "...", "root": "file:///..."} to what a server asks
//   stdin     {"do": "list"}
//             {"do": "call", "id": "a", "tool": "...", "arguments": {...}, "timeout_ms": 1000, "progress": true, "reset_on_progress": true}
//             {"do": "cancel", "id": "a"}         the call with that id, by the client's own means
//             {"do": "close"}, or the end of the input
//   stdout    {"event": "connected", "server": {...}, "protocol": "..."}
//             {"event": "tools", "tools": [...]}
//             {"event": "progress", "id": "a", "progress": 1, "total": null, "message": null}
//             {"event": "elicitation", "params": {...}}     accepted at once
//             {"event": "sampling", "params": {...}}        answered at once, if there are answers
//             {"event": "result", "id": "a", "isError": false, "text": "...", "_meta": {...}, "structuredContent": {...}}
//             {"event": "error", "id": "a", "kind": "timeout" | "cancelled" | "protocol" | "transport", "code": -32602, "message": "..."}
//             {"event": "closed"}
import { createInterface } from 'node:readline';

export function emit(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

export const target = JSON.parse(process.argv[2]);

export function text(result) {
  return (result.content ?? [])
    .filter((block) => block.type === 'text')
    .map((block) => block.text)
    .join('\n');
}

// `client` has `list()`, `call(command, { signal, onprogress })`, `close()` and `kind(error)`.
export async function drive(connect) {
  let client;
  try {
    client = await connect(target);
  } catch (error) {
    emit({ event: 'error', kind: 'transport', code: error.code ?? null, message: String(error.message ?? error) });
    process.exit(1);
  }
  emit({ event: 'connected', ...client.connected });

  const calls = new Map();
  const commands = {
    async list() {
      const { tools } = await client.list();
      emit({ event: 'tools', tools });
    },
    async call(command) {
      const abort = new AbortController();
      calls.set(command.id, abort);
      const onprogress = command.progress
        ? ({ progress, total, message }) =>
            emit({ event: 'progress', id: command.id, progress, total: total ?? null, message: message ?? null })
        : undefined;
      try {
        const result = await client.call(command, { signal: abort.signal, onprogress });
        emit({
          event: 'result',
          id: command.id,
          isError: result.isError === true,
          text: text(result),
          _meta: result._meta ?? null,
          structuredContent: result.structuredContent ?? null,
        });
      } catch (error) {
        const kind = abort.signal.aborted ? 'cancelled' : client.kind(error);
        emit({ event: 'error', id: command.id, kind, code: error.code ?? null, message: String(error.message ?? error) });
      } finally {
        calls.delete(command.id);
      }
    },
    async cancel(command) {
      calls.get(command.id)?.abort('the user pressed stop');
    },
  };

  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === '') continue;
    const command = JSON.parse(line);
    if (command.do === 'close') break;
    commands[command.do](command).catch((error) =>
      emit({ event: 'error', id: command.id ?? null, kind: client.kind(error), code: error.code ?? null, message: String(error.message ?? error) }),
    );
  }
  await client.close();
  emit({ event: 'closed' });
  process.exit(0);
}

// Only what a call asks for: a client's own time-out is part of what the tests look at.
export function requestOptions(command, { signal, onprogress }) {
  return {
    signal,
    ...(onprogress && { onprogress }),
    ...(command.timeout_ms && { timeout: command.timeout_ms }),
    ...(command.reset_on_progress && { resetTimeoutOnProgress: true }),
  };
}
