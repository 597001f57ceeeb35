// A tool server that speaks 2026-07-28 and nothing else, on the TypeScript SDK, over standard input and output.
// Its tools ask the client for what an earlier era would have asked by a request of its own.
import { McpServer, inputRequired, inputResponse } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import * as z from 'zod';

const said = (text) => ({ content: [{ type: 'text', text }] });

function build() {
  const server = new McpServer({ name: 'modern', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.registerTool('echo', { inputSchema: z.object({ message: z.string() }) }, ({ message }) =>
    said(`Echo: ${message}`),
  );
  // A question to the person, one to the model and one about folders, each on its own leg.
  server.registerTool('ask', { inputSchema: z.object({ order: z.string() }) }, ({ order }, { mcpReq }) => {
    const step = mcpReq.requestState() ?? 'begin';
    const answer = inputResponse(mcpReq.inputResponses, 'question');
    if (step === 'begin') {
      const question = inputRequired.elicit({
        message: `Really ${order}?`,
        requestedSchema: z.object({ sure: z.boolean() }),
      });
      return inputRequired({ inputRequests: { question }, requestState: 'person' });
    }
    if (step === 'person') {
      if (answer.kind !== 'elicit' || answer.action !== 'accept') return { ...said(`no person: ${answer.kind}`), isError: true };
      const messages = [{ role: 'user', content: { type: 'text', text: `A word for ${order}` } }];
      const question = inputRequired.createMessage({ messages, maxTokens: 10 });
      return inputRequired({ inputRequests: { question }, requestState: `model ${answer.content?.sure}` });
    }
    if (step.startsWith('model ')) {
      const word = answer.kind === 'sampling' ? answer.result.content?.text : answer.kind;
      const question = inputRequired.listRoots();
      return inputRequired({ inputRequests: { question }, requestState: `roots ${step.slice(6)} ${word}` });
    }
    const roots = answer.kind === 'roots' ? answer.roots.map((root) => root.uri).join(' ') : answer.kind;
    return said(`${order}: ${step.slice(6)} ${roots}`);
  });
  return server;
}

serveStdio(build, { legacy: 'reject' });
