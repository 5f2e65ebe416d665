import type { ModelSource } from '../domains/catalog/source.ts';
import type { ModelRuntime } from '../domains/deployments/runtime.ts';
import type { FileScanner } from '../domains/downloads/file-scanner.ts';
import type { AlertChannel } from '../domains/system/alerts/alert-channel.ts';
import { abortable } from '../shared/async.ts';
import type { Logger } from '../shared/logger.ts';
import { createBlame } from './blame.ts';
import { guardAlertChannel } from './guard-alert-channel.ts';
import { guardRuntime } from './guard-runtime.ts';
import { guardScanner } from './guard-scanner.ts';
import { guardSource } from './guard-source.ts';
import { ModuleLoader } from './module-loader.ts';
import { assertParts, assertShape, pluginShape } from './part-shapes.ts';
import { firstLine, PluginFault } from './plugin-fault.ts';
import type { Plugin, PluginHost, PluginParts } from './plugin.ts';

const partKinds = ['sources', 'runtimes', 'scanners', 'alertChannels'] as const;
type PartKind = (typeof partKinds)[number];

export type PluginsOptions = {
  /** Absolute paths and names of packages. */
  modules: readonly string[];
  /** The folder that the service was started in. */
  from: string;
  /** Of what is there without plug-ins; nobody else may use these. */
  taken: Readonly<Record<PartKind, readonly string[]>>;
  /** Called once for each plug-in. */
  hostFor: (name: string) => Promise<PluginHost>;
  logger: Logger;
};

export type OpenedPlugins = {
  sources: readonly ModelSource[];
  runtimes: readonly ModelRuntime[];
  scanners: readonly FileScanner[];
  alertChannels: readonly AlertChannel[];
  /** One line for each module that cannot be used; the service does not start with any. */
  faults: readonly string[];
  /** The name of the plug-in in whose own code nobody caught this, if it is one's. */
  blame: (error: unknown) => string | null;
  /** Ends the plug-ins, the last first, whatever one of them throws. */
  close: (signal: AbortSignal) => Promise<void>;
};

const setupMs = 10_000;

type Opened = { name: string; parts: PluginParts; folder: string };

/** Loads all plug-ins that are configured; what they bring is guarded, so that a fault of theirs stays theirs. */
export async function openPlugins(options: PluginsOptions, signal: AbortSignal): Promise<OpenedPlugins> {
  const opened: Opened[] = [];
  const faults: string[] = [];
  const loader = options.modules.length > 0 ? new ModuleLoader(options.from) : null;
  for (const specifier of loader ? options.modules : []) {
    try {
      const { plugins, folder } = (await loader?.load(specifier, signal)) ?? { plugins: [], folder: '' };
      for (const plugin of plugins) opened.push(await setUp(plugin, { folder, before: opened, ...options }, signal));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PluginFault)) throw error;
      faults.push(`LLM_MANAGER_PLUGINS: ${specifier}: ${error.message}`);
    }
  }
  const loggerOf = (name: string): Logger => options.logger.child({ plugin: name });
  return {
    sources: opened.flatMap(({ name, parts }) => (parts.sources ?? []).map((source) => guardSource(source, loggerOf(name)))),
    runtimes: opened.flatMap(({ name, parts }) => (parts.runtimes ?? []).map((runtime) => guardRuntime(runtime, loggerOf(name)))),
    scanners: opened.flatMap(({ name, parts }) => (parts.scanners ?? []).map((scanner) => guardScanner(scanner, loggerOf(name)))),
    alertChannels: opened.flatMap(({ name, parts }) => (parts.alertChannels ?? []).map((channel) => guardAlertChannel(channel, loggerOf(name)))),
    faults,
    blame: createBlame(opened),
    close: async (deadline) => {
      for (const { name, parts } of opened.toReversed()) await closeOne(name, parts, options.logger, deadline);
      loader?.close();
    },
  };
}

async function setUp(plugin: Plugin, { folder, before, hostFor, taken }: PluginsOptions & { folder: string; before: readonly Opened[] }, signal: AbortSignal): Promise<Opened> {
  assertShape(pluginShape, plugin, 'the plug-in');
  const { name } = plugin;
  if (before.some((other) => other.name === name)) throw new PluginFault(`there is another plug-in with the name ${name}`);
  const host = await hostFor(name);
  const limit = AbortSignal.timeout(setupMs);
  const ended = AbortSignal.any([signal, limit]);
  let parts: PluginParts;
  try {
    parts = await abortable(Promise.resolve(plugin.setup(host, ended)), ended);
  } catch (error) {
    signal.throwIfAborted();
    throw new PluginFault(limit.aborted ? `${name}: its setup did not end within ${setupMs / 1_000} s` : `${name}: its setup failed: ${firstLine(error)}`, { cause: error });
  }
  try {
    assertParts(parts);
    assertFree(parts, before, taken);
  } catch (error) {
    await parts.close?.(AbortSignal.abort());
    throw error instanceof PluginFault ? new PluginFault(`${name}: ${error.message}`, { cause: error }) : error;
  }
  return { name, parts, folder };
}

function assertFree(parts: PluginParts, before: readonly Opened[], taken: PluginsOptions['taken']): void {
  for (const kind of partKinds) {
    const used = new Set([...taken[kind], ...before.flatMap((other) => (other.parts[kind] ?? []).map(({ id }) => id))]);
    for (const { id } of parts[kind] ?? []) {
      if (used.has(id)) throw new PluginFault(`the id ${id} of one of its ${kind} is taken`);
      used.add(id);
    }
  }
}

async function closeOne(name: string, parts: PluginParts, logger: Logger, deadline: AbortSignal): Promise<void> {
  try {
    await abortable(Promise.resolve(parts.close?.(deadline)), deadline);
  } catch (error) {
    logger.warn({ plugin: name, err: error }, 'a plug-in did not end cleanly');
  }
}
