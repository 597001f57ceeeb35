// A server that reads nothing into what it is sent: writes each line to LOG as it came, and answers it with the next
// line of SCRIPT as it stands there. Two things it does understand, or it could not be called: the proxy's own
// question for the tools, which it answers and does not write down, and a tool call named `t`, which is one of them.
//
//   script.mjs LOG SCRIPT
import { appendFileSync, readFileSync } from 'node:fs';

const [log, script] = process.argv.slice(2);
const answers = readFileSync(script, 'latin1').split('\n').filter((line) => line !== '');
const tools = [{ name: 't', inputSchema: { type: 'object' } }];

function question(line) {
  try {
    const { id, method } = JSON.parse(line);
    return method === 'tools/list' && String(id).startsWith('holdpoint-') ? id : null;
  } catch {
    return null;
  }
}

let rest = '';
process.stdin.setEncoding('latin1');
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const id = question(line);
    if (id !== null) {
      process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: { tools } })}\n`);
      continue;
    }
    appendFileSync(log, `${line}\n`, 'latin1');
    const answer = answers.shift();
    if (answer !== undefined) process.stdout.write(`${answer}\n`, 'latin1');
  }
});
