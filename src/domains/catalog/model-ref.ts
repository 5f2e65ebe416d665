import { AppError } from '../../shared/errors.ts';
import type { ModelRef } from './types.ts';

/** Hub rule for owner and name segments; also keeps `..` and separators out of paths. */
const segmentPattern = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
const revisionSegmentPattern = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?$/;
const revisionLengthMax = 128;
/** Of Ollama names and tags. */
const ollamaPattern = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9_-])?$/;
/** Devices on Windows, with any extension: no folder can have such a name there. */
const devicePattern = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i;
/** A registry's name and port, as Ollama writes it before the names of models that are not from its own. */
const registryPattern = /^(?=[^:]{1,253}(?::|$))[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?$/;
const ownRegistry = 'registry.ollama.ai';
const sourcePattern = /^[a-z][a-z0-9-]{0,31}$/;
const idLengthMax = 300;

function refuse(): AppError {
  const message = 'must be huggingface:org/name[@revision] or ollama:name[:tag]';
  return new AppError('VALIDATION_FAILED', `model_id: ${message}`, { details: { fields: [{ field: 'model_id', message }] } });
}

function isSegment(text: string, pattern: RegExp): boolean {
  return pattern.test(text) && !text.includes('..') && !devicePattern.test(text);
}

function isRevision(text: string): boolean {
  return text.length <= revisionLengthMax && text.split('/').every((segment) => isSegment(segment, revisionSegmentPattern));
}

function parseHuggingFace(rest: string): ModelRef {
  const at = rest.indexOf('@');
  const name = at === -1 ? rest : rest.slice(0, at);
  const revision = at === -1 ? null : rest.slice(at + 1);
  const segments = name.split('/');
  if (segments.length > 2 || !segments.every((segment) => isSegment(segment, segmentPattern))) throw refuse();
  if (revision !== null && !isRevision(revision)) throw refuse();
  return { source: 'huggingface', name, revision };
}

function parseOllama(rest: string): ModelRef {
  const slash = rest.lastIndexOf('/');
  const colon = rest.indexOf(':', slash + 1);
  const name = colon === -1 ? rest : rest.slice(0, colon);
  const revision = colon === -1 ? null : rest.slice(colon + 1);
  const segments = name.split('/');
  if (segments.length > 2 || !segments.every((segment) => isSegment(segment, ollamaPattern))) throw refuse();
  if (revision !== null && !isSegment(revision, ollamaPattern)) throw refuse();
  return { source: 'ollama', name: segments[0] === 'library' && segments.length === 2 ? (segments[1] ?? '') : name, revision };
}

/** What was imported from this machine. */
function parseLocal(name: string): ModelRef {
  if (!isSegment(name, segmentPattern)) throw refuse();
  return { source: 'local', name, revision: null };
}

/**
 * Reads a model id as people write it: `huggingface:org/name@rev`, `ollama:name:tag`, `org/name` (Hugging Face),
 * `name[:tag]` (Ollama), `local:name` (imported). Throws VALIDATION_FAILED; what comes out is safe to use in a path.
 */
export function parseModelRef(text: string): ModelRef {
  if (text.length === 0 || text.length > idLengthMax) throw refuse();
  const colon = text.indexOf(':');
  const prefix = colon === -1 ? '' : text.slice(0, colon);
  if (prefix === 'huggingface') return parseHuggingFace(text.slice(colon + 1));
  if (prefix === 'local') return parseLocal(text.slice(colon + 1));
  if (prefix === 'ollama') return parseOllama(text.slice(colon + 1));
  if (text.includes('/')) {
    if (prefix !== '' && !prefix.includes('/') && sourcePattern.test(prefix)) return parsePlugin(prefix, text.slice(colon + 1));
    return parseHuggingFace(text);
  }
  return parseOllama(text);
}

/**
 * As `parseModelRef`, and also what an Ollama server has from another registry: `ollama:host[:port]/namespace/name[:tag]`,
 * whose name holds the registry. No source of ours has such a model: it is a name for that server, and none for a path.
 */
export function parseOwnModelRef(text: string): ModelRef {
  const [, registry, namespace = '', rest = ''] = /^ollama:([^/]+)\/([^/]+)\/([^/]+)$/.exec(text) ?? [];
  if (registry === undefined) return parseModelRef(text);
  if (text.length > idLengthMax || registry.includes('..') || !registryPattern.test(registry)) throw refuse();
  const ref = parseOllama(`${namespace}/${rest}`);
  return registry === ownRegistry ? ref : { ...ref, name: `${registry}/${namespace}/${ref.name.slice(ref.name.lastIndexOf('/') + 1)}` };
}

function parsePlugin(source: string, rest: string): ModelRef {
  const parsed = parseHuggingFace(rest);
  return { ...parsed, source };
}

/**
 * The canonical id: what rows store and callers get as `model_id`. On the Hub a revision is a version of the same
 * model and is left out; an Ollama tag other than `latest` names another model and stays.
 */
export function modelIdOf(ref: ModelRef): string {
  const tag = ref.source === 'ollama' && ref.revision !== null && ref.revision !== 'latest' ? `:${ref.revision}` : '';
  return `${ref.source}:${ref.name}${tag}`;
}
