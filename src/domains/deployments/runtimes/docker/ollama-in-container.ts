import type { StreamingHttp } from '../../../../shared/streaming-http.ts';
import type { RuntimeStart } from '../../runtime.ts';
import { createOllamaChat } from '../ollama/ollama-chat.ts';
import { loadOptionsOf, OllamaServer, type LoadOptions } from '../ollama/ollama-server.ts';

/** How an Ollama server in a container is reached. */
export type OllamaWays = { /** For answers. */ streaming: StreamingHttp; /** For everything else. */ fetch: typeof fetch };

/** Nothing else is in that server, so one name does for all. */
export const modelInContainer = 'llm-manager:latest';

/** Hands the file over and loads it. Rejects with what the server says, or the signal's reason. */
export async function handOver(baseUrl: string, ways: OllamaWays, start: Pick<RuntimeStart, 'config' | 'log'> & { modelPath: string; contextSize: number }, signal: AbortSignal): Promise<void> {
  const server = new OllamaServer(baseUrl, ways.fetch);
  start.log('supervisor', 'info', "Handing the model's file over to the container's Ollama, which makes a copy that is gone when the container ends.");
  await server.createFrom(start.modelPath, modelInContainer, (step) => start.log('stdout', 'info', step), signal);
  await server.load(modelInContainer, loadOptionsOf(start.config, start.contextSize), signal);
}

export function chatInContainer(baseUrl: string, ways: OllamaWays, load: LoadOptions): StreamingHttp {
  return createOllamaChat({ http: ways.streaming, host: baseUrl, model: modelInContainer, load });
}
