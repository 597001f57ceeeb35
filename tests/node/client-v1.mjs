// The TypeScript SDK, first generation: handshake era only. See drive.mjs for the commands.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { drive, emit, requestOptions } from './drive.mjs';

await drive(async (target) => {
  const client = new Client(
    { name: 'holdpoint-e2e-v1', version: '1' },
    { capabilities: { elicitation: {}, ...(target.answers && { sampling: {}, roots: {} }) } },
  );
  client.setRequestHandler(ElicitRequestSchema, async (request) => {
    emit({ event: 'elicitation', params: request.params });
    return { action: 'accept', content: target.answers?.elicitation ?? {} };
  });
  if (target.answers) {
    client.setRequestHandler(CreateMessageRequestSchema, async (request) => {
      emit({ event: 'sampling', params: request.params });
      return { role: 'assistant', model: 'none', content: { type: 'text', text: target.answers.sampling } };
    });
    client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: target.answers.root }] }));
  }
  const transport = target.stdio
    ? new StdioClientTransport({
        command: target.stdio[0],
        args: target.stdio.slice(1),
        env: { ...process.env, ...target.env },
        cwd: target.cwd,
        stderr: 'inherit',
      })
    : new StreamableHTTPClientTransport(new URL(target.http), { requestInit: { headers: target.headers ?? {} } });
  await client.connect(transport);
  return {
    connected: { server: client.getServerVersion() ?? null, protocol: transport.protocolVersion ?? null },
    list: () => client.listTools(),
    call: (command, call) =>
      client.callTool({ name: command.tool, arguments: command.arguments }, undefined, requestOptions(command, call)),
    close: () => client.close(),
    kind: (error) => (error.code === -32001 ? 'timeout' : typeof error.code === 'number' ? 'protocol' : 'transport'),
  };
});
