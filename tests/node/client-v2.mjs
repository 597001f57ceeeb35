// The TypeScript SDK, second generation: both eras, chosen by `era`. See drive.mjs for the commands.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { drive, emit, requestOptions } from './drive.mjs';

await drive(async (target) => {
  const era = target.era ?? 'legacy';
  const client = new Client(
    { name: 'holdpoint-e2e-v2', version: '1' },
    {
      capabilities: { elicitation: { form: {}, url: {} }, ...(target.answers && { sampling: {}, roots: {} }) },
      versionNegotiation: { mode: era === 'legacy' || era === 'auto' ? era : { pin: era } },
    },
  );
  client.setRequestHandler('elicitation/create', async (request) => {
    emit({ event: 'elicitation', params: request.params });
    const content = request.params.requestedSchema && target.answers?.elicitation;
    return { action: 'accept', ...(content && { content }) };
  });
  if (target.answers) {
    client.setRequestHandler('sampling/createMessage', async (request) => {
      emit({ event: 'sampling', params: request.params });
      return { role: 'assistant', model: 'none', content: { type: 'text', text: target.answers.sampling } };
    });
    client.setRequestHandler('roots/list', async () => ({ roots: [{ uri: target.answers.root }] }));
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
    connected: { server: client.getServerVersion() ?? null, protocol: client.getNegotiatedProtocolVersion() ?? null },
    list: () => client.listTools(),
    call: (command, call) => {
      // What the client tells itself while it answers `input_required` did not come over the wire.
      const own = (progress) => /^Fulfilling input required/.test(progress.message ?? '');
      const onprogress = call.onprogress && ((progress) => own(progress) || call.onprogress(progress));
      const options = requestOptions(command, { ...call, onprogress });
      return client.callTool({ name: command.tool, arguments: command.arguments }, options);
    },
    close: () => client.close(),
    kind: (error) =>
      /timeout/i.test(String(error.code)) ? 'timeout' : typeof error.code === 'number' ? 'protocol' : 'transport',
  };
});
