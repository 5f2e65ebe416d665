/**
 * What a plug-in may use: `import { definePlugin } from 'llm-manager/plugin'`. docs/plugins.md tells how to write one.
 * The one file that names things of other rooms again: a plug-in's author needs a single door that stays where it is.
 */
import type { ModelSource } from '../domains/catalog/source.ts';
import type { ModelRuntime } from '../domains/deployments/runtime.ts';
import type { FileScanner } from '../domains/downloads/file-scanner.ts';
import type { AlertChannel } from '../domains/system/alerts/alert-channel.ts';
import type { Clock } from '../shared/clock.ts';
import type { Logger } from '../shared/logger.ts';
import type { OutgoingHttp } from '../shared/outgoing-http.ts';

export type { FileLocation, FileRequest, ModelSource, SourceCapabilities, SourceModel, SourcePage, SourceSearch } from '../domains/catalog/source.ts';
export type { ModelFile, ModelRef, ModelSummary } from '../domains/catalog/types.ts';
export { HealthUnknownError } from '../domains/deployments/runtime.ts';
export type { Keepsake, ModelRuntime, RunningModel, RuntimeAdoption, RuntimeCapabilities, RuntimeExit, RuntimeHandle, RuntimeStart } from '../domains/deployments/runtime.ts';
export type { DeploymentConfig, DeploymentUseView, RuntimeInfo } from '../domains/deployments/types.ts';
export type { FileScanner, ScanFinding, ScanTarget } from '../domains/downloads/file-scanner.ts';
export type { AlertChannel, AlertNotice } from '../domains/system/alerts/alert-channel.ts';
export type { AlertSeverity, AlertTarget } from '../domains/system/alerts/types.ts';
export type { Clock } from '../shared/clock.ts';
export { AppError } from '../shared/errors.ts';
export type { ErrorCode } from '../shared/errors.ts';
export type { Logger } from '../shared/logger.ts';
export type { OutgoingHttp, OutgoingRequest, OutgoingResponse } from '../shared/outgoing-http.ts';

/** What the service lends a plug-in. */
export type PluginHost = {
  /** Writes into the service's log under the plug-in's name; never give it secrets. */
  logger: Logger;
  clock: Clock;
  /** For small requests: whole bounded answers, no redirects, private addresses only where asked for. */
  http: OutgoingHttp;
  /** A folder of the plug-in's own in the data folder, mode 0700; it is there. Absolute. */
  dataDir: string;
};

/** What a plug-in brings. Each goes through the same door as the built-in ones; ids must be free. */
export type PluginParts = {
  sources?: readonly ModelSource[];
  runtimes?: readonly ModelRuntime[];
  scanners?: readonly FileScanner[];
  alertChannels?: readonly AlertChannel[];
  /** Called once when the service ends, after everything that used the parts; the signal aborts when time is up. */
  close?: (signal: AbortSignal) => Promise<void> | void;
};

export type PluginDefinition = {
  /** `a-z`, digits and `-`, at most 32: names its folder and its lines in the log. */
  name: string;
  /** Called once at the start, before any request, for at most 10 s; what it throws stops the start. */
  setup: (host: PluginHost, signal: AbortSignal) => Promise<PluginParts> | PluginParts;
};

/** By this, not by its class, a plug-in is known: it may have been made by another copy of this module. */
export const pluginMark = Symbol.for('llm-manager.plugin.1');

export type Plugin = PluginDefinition & { readonly [pluginMark]: true };

/** Marks an object as a plug-in; export what it answers under any name. Its faults are told when the service loads it. */
export function definePlugin(definition: PluginDefinition): Plugin {
  return { ...definition, [pluginMark]: true };
}
