import type { Config } from '../../infrastructure/config/config.ts';
import type { ServerInfo } from '../../infrastructure/data-folder/folder-files.ts';
import { fault, ok, reasonOf, warning, type Check } from './check.ts';

/** Long enough for a slow line, short enough for somebody who waits. */
const timeoutMs = 5_000;

type Site = { name: string; url: string; isNeeded: boolean; cure: string };

async function checkSite({ name, url, isNeeded, cure }: Site, signal: AbortSignal): Promise<Check> {
  const bad = isNeeded ? fault : warning;
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) });
    await response.body?.cancel();
    return response.status >= 500 ? bad(name, `${url} answers with ${response.status}`, 'Wait: the fault is on its side.') : ok(name, url);
  } catch (error) {
    signal.throwIfAborted();
    return bad(name, `${url} is not reachable (${reasonOf(error)})`, cure);
  }
}

/** Only the services that models come from; the Ollama server is something that one may have. */
export async function checkSites({ sources }: Config, signal: AbortSignal): Promise<Check[]> {
  const { huggingface, ollama } = sources;
  const online = 'Check the network, a proxy or a firewall';
  const sites: Site[] = [
    { name: 'Hugging Face Hub', url: new URL('/api/models?limit=1', huggingface.endpoint).href, isNeeded: true, cure: `${online}, or set HF_ENDPOINT to a mirror.` },
    { name: 'Ollama library', url: ollama.library, isNeeded: true, cure: `${online}, or set LLM_MANAGER_OLLAMA_LIBRARY.` },
    { name: 'Ollama registry', url: new URL('/v2/', ollama.registry).href, isNeeded: true, cure: `${online}, or set LLM_MANAGER_OLLAMA_REGISTRY.` },
    { name: 'Ollama server', url: new URL('/api/version', ollama.host).href, isNeeded: false, cure: 'Only deployments on Ollama need it: start it with "ollama serve", or set OLLAMA_HOST.' },
  ];
  return await Promise.all(sites.map((site) => checkSite(site, signal)));
}

/** Aborts with the signal, or when an answer takes longer than anybody waits. */
export function withTimeout(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
}

/** Whether a service that runs is ready; it looks at its database itself. */
export async function checkReady(server: ServerInfo, signal: AbortSignal): Promise<Check> {
  try {
    const response = await fetch(new URL('/ready', server.url), { signal: withTimeout(signal) });
    await response.body?.cancel();
    return response.status === 200 ? ok('database', 'answers the service') : fault('database', `the service is not ready (status ${response.status})`, 'Look into the log of the service.');
  } catch (error) {
    signal.throwIfAborted();
    return fault('service', `${server.url} is not reachable (${reasonOf(error)})`, `Look into the log of process ${server.pid}, or end it and start the service again.`);
  }
}
