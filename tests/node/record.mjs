// Preloaded into a tool server (node --import record.mjs?log=FILE[&listen=1]): writes down every tool call that
// reaches it, before the server has seen it, one line of FILE each. The server does not know.
//
//   listen=1   for a server over HTTP: it listens on a free port of 127.0.0.1 instead of its own choice, and
//              {"event": "ready", "url": "..."} is printed once it does
import { appendFileSync } from 'node:fs';
import { IncomingMessage } from 'node:http';
import { Server } from 'node:net';

const options = new URL(import.meta.url).searchParams;
const log = options.get('log');

function record(text) {
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    return; // for the server to complain about
  }
  for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
    if (message?.method === 'tools/call') {
      const { name: tool, arguments: args } = message.params ?? {};
      appendFileSync(log, `${JSON.stringify({ tool, arguments: args })}\n`);
    }
  }
}

// What arrives is pushed into a stream, whatever reads it later.
function tap(stream, seen, ended) {
  const push = stream.push;
  stream.push = function (chunk, ...rest) {
    if (chunk === null) ended?.call(this);
    else seen.call(this, Buffer.from(chunk));
    return push.call(this, chunk, ...rest);
  };
}

if (options.get('listen')) {
  console.log = console.error; // standard output is for the ready line
  tap(
    IncomingMessage.prototype,
    function (chunk) {
      (this.recorded ??= []).push(chunk);
    },
    function () {
      record(Buffer.concat(this.recorded ?? []).toString());
    },
  );
  const listen = Server.prototype.listen;
  Server.prototype.listen = function (_port, ...rest) {
    this.once('listening', () => {
      const url = `http://127.0.0.1:${this.address().port}/mcp`;
      process.stdout.write(`${JSON.stringify({ event: 'ready', url })}\n`);
    });
    return listen.call(this, 0, '127.0.0.1', ...rest.filter((argument) => typeof argument === 'function'));
  };
} else {
  let rest = '';
  tap(process.stdin, (chunk) => {
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop();
    for (const line of lines) record(Buffer.from(line, 'latin1').toString());
  });
}
