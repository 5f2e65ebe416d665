/** What an Ollama server holds: installed models, loaded runners, uploaded blobs, and how it words its refusals. */
import { createHash } from 'node:crypto';
import type { Content } from '../hub/content.ts';
import type { Exchange } from '../hub/http-double.ts';
import { readBody, sendJson } from '../hub/send.ts';

export type DaemonModelInput = {
  /** `name[:tag]`, or with host and namespace. */
  name: string;
  size?: number;
  digest?: string;
  family?: string;
  parameterSize?: string;
  quantization?: string;
  contextLength?: number;
  embeddingLength?: number;
  /** Without `thinking` or `tools` the server refuses requests that ask for them. */
  capabilities?: readonly string[];
  template?: string;
  system?: string;
  parameters?: string;
  modelInfo?: Record<string, unknown>;
};

export type DaemonModel = Required<Omit<DaemonModelInput, 'modelInfo'>> & { modelInfo: Record<string, unknown>; modifiedAt: string };

export type PullableLayer = { digest: string; size: number };
/** What `pull` finds in the registry. */
export type Pullable = { model: DaemonModelInput; layers: readonly PullableLayer[] };

export type Runner = { model: DaemonModel; expiresAt: number; contextLength: number };

export type Generation = { model: string; tokens: number; state: 'running' | 'done' | 'cancelled' | 'failed' };

export type DaemonKnobs = {
  version: string;
  /** Tokens of the answer to these messages. */
  reply: (messages: readonly ChatMessage[]) => readonly string[];
  tokenDelayMilliseconds: number;
  loadMilliseconds: number;
  /** The stream breaks off with an error line after so many tokens. */
  failAfterTokens: number | null;
  /** The stream goes silent after so many tokens, until the client leaves. */
  stallAfterTokens: number | null;
  pullFrameBytes: number;
  pullFrameMilliseconds: number;
};

export type ChatMessage = { role: string; content: string };

export type DaemonState = {
  readonly models: Map<string, DaemonModel>;
  readonly runners: Map<string, Runner>;
  readonly pullable: Map<string, Pullable>;
  readonly blobs: Map<string, Content>;
  /** Bytes that each layer's pulls have moved so far; kept over a disconnect, as the partial files are. */
  readonly pulled: Map<string, number>;
  readonly installedLayers: Set<string>;
  readonly generations: Generation[];
  readonly knobs: DaemonKnobs;
};

export class DaemonError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const NAME = /^(?:(?:https?:\/\/)?[\w.-]+(?::\d+)?\/)?(?:[\w][\w.-]*\/)?[\w][\w.-]*(?::[\w][\w.-]*)?$/;
/** Ollama keeps a model "forever" by an expiry in the far future. */
const FOREVER_MS = Date.UTC(2318, 0, 1);
const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DEFAULT_KEEP_ALIVE_MS = 5 * 60_000;

export const completeName = (name: string): string => (/:[^/]+$/.test(name) ? name : `${name}:latest`);

/** The name with registry and namespace, as some messages have it. */
export const fullName = (name: string): string => (completeName(name).includes('/') ? completeName(name) : `registry.ollama.ai/library/${completeName(name)}`);

export function toModel(input: DaemonModelInput): DaemonModel {
  const { family = 'llama', contextLength = 8192, embeddingLength = 576 } = input;
  const digest = input.digest ?? createHash('sha256').update(completeName(input.name)).digest('hex');
  return {
    size: 91_739_413, parameterSize: '134.52M', quantization: 'Q4_1', capabilities: ['completion'], template: '{{ .Prompt }}', system: '', parameters: '',
    modelInfo: { 'general.architecture': family, 'general.parameter_count': 134_515_008, [`${family}.context_length`]: contextLength, [`${family}.embedding_length`]: embeddingLength },
    modifiedAt: new Date().toISOString(),
    ...input,
    family, contextLength, embeddingLength, digest,
    name: completeName(input.name),
  };
}

export function detailsOf(model: DaemonModel): Record<string, unknown> {
  return {
    parent_model: '', format: 'gguf', family: model.family, families: [model.family], parameter_size: model.parameterSize, quantization_level: model.quantization,
    context_length: model.contextLength, embedding_length: model.embeddingLength,
  };
}

export function describeTag(model: DaemonModel): Record<string, unknown> {
  const { name, modifiedAt, size, digest, capabilities } = model;
  return { name, model: name, modified_at: modifiedAt, size, digest, details: detailsOf(model), capabilities };
}

/** Latest expiry first; what has expired is gone. */
export function loadedRunners({ runners }: DaemonState): Runner[] {
  for (const [name, { expiresAt }] of runners) if (expiresAt <= Date.now()) runners.delete(name);
  return [...runners.values()].sort((a, b) => b.expiresAt - a.expiresAt);
}

export function describeRunner({ model, expiresAt, contextLength }: Runner): Record<string, unknown> {
  const { name, size, digest } = model;
  return { name, model: name, size, digest, details: detailsOf(model), expires_at: new Date(expiresAt).toISOString(), size_vram: 0, context_length: contextLength };
}

/** Seconds or a Go duration; negative = forever. */
export function keepAliveMs(value: unknown): number {
  if (value === undefined || value === null) return DEFAULT_KEEP_ALIVE_MS;
  if (typeof value === 'number') return value < 0 ? FOREVER_MS - Date.now() : value * 1000;
  if (typeof value === 'string') {
    const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
    if (value.startsWith('-')) return FOREVER_MS - Date.now();
    if (value === '0') return 0;
    if (parts.length > 0) return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNIT_MS[unit ?? ''] ?? 0), 0);
  }
  throw new DaemonError(400, `time: invalid duration ${JSON.stringify(value)}`);
}

export type Body = Record<string, unknown>;

export async function readJson(exchange: Exchange): Promise<Body> {
  const text = (await readBody(exchange)).toString();
  if (text.trim() === '') throw new DaemonError(400, 'missing request body');
  try {
    return JSON.parse(text) as Body;
  } catch {
    throw new DaemonError(400, `invalid character '${text.trim()[0] ?? ''}' looking for beginning of value`);
  }
}

/** Checks the name's form only. */
export function readName(body: Body, keys = ['model', 'name']): string {
  const name = keys.map((key) => body[key]).find((value) => typeof value === 'string' && value !== '');
  if (typeof name !== 'string') throw new DaemonError(400, 'model is required');
  if (!NAME.test(name)) throw new DaemonError(400, 'invalid model name');
  return name;
}

/** `shown`: whether the message completes the name, which differs by route. */
export function findModel({ models }: DaemonState, name: string, shown: 'completed' | 'as_sent' = 'as_sent'): DaemonModel {
  const model = models.get(completeName(name));
  if (!model) throw new DaemonError(404, `model '${shown === 'completed' ? completeName(name) : name}' not found`);
  return model;
}

export async function sendDaemonError(exchange: Exchange, { status, message }: DaemonError): Promise<void> {
  await sendJson(exchange, { error: message }, { status });
}
