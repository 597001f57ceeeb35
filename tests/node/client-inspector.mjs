// MCP Inspector, by its command line: each command is a process and a session of its own. See drive.mjs for the commands;
// it does not ask for progress.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { drive } from './drive.mjs';

const inspector = fileURLToPath(import.meta.resolve('@modelcontextprotocol/inspector/package.json'))
  .replace(/package\.json$/, 'clients/launcher/build/index.js');

await drive(async (target) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdpoint-inspector-'));
  const era = target.era === '2026-07-28' ? 'modern' : (target.era ?? 'legacy');
  const server = target.stdio
    ? { type: 'stdio', command: target.stdio[0], args: target.stdio.slice(1), env: target.env ?? {}, cwd: target.cwd }
    : { type: 'streamable-http', url: target.http, headers: target.headers ?? {} };

  // What it prints: one JSON object; else what it complains of.
  const run = (method, signal) =>
    new Promise((resolve, reject) => {
      const config = join(folder, `${Math.random()}.json`);
      writeFileSync(config, JSON.stringify({ mcpServers: { server } }));
      const own = ['--cli', '--config', config, '--server', 'server', '--protocol-era', era];
      const child = execFile(
        process.execPath,
        [inspector, ...own, ...method, '--format', 'json', '-q'],
        { signal, maxBuffer: 64 * 1024 * 1024, env: { ...process.env, HOME: folder } },
        (error, stdout, stderr) => {
          const line = stdout.trim();
          if (line.startsWith('{')) resolve(JSON.parse(line));
          else reject(Object.assign(new Error(stderr.trim() || error?.message), { exit: child.exitCode }));
        },
      );
      child.stdin.end();
    });

  return {
    connected: { server: null, protocol: era },
    list: async () => {
      const listed = await run(['--method', 'tools/list']);
      return listed.result ?? listed;
    },
    // It has no limit of its own, and takes none: `requestTimeout` is for its window.
    call: async (command, call) => {
      const what = ['--method', 'tools/call', '--tool-name', command.tool, '--tool-args-json', JSON.stringify(command.arguments)];
      const said = await run(what, call.signal);
      return said.result ?? said;
    },
    close: async () => rmSync(folder, { recursive: true, force: true }),
    kind: (error) => (/timed? ?out|-32001/i.test(error.message) ? 'timeout' : 'transport'),
  };
});
