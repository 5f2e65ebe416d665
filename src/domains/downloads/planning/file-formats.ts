/**
 * Files that cannot run code when a program reads them: weights in formats that are plain data, and text. Everything
 * else is left where it is unless an ADMIN says otherwise: an allow-list, because lists of bad formats are never whole.
 */
const safeExtensions = new Set(['gguf', 'safetensors', 'json', 'jsonl', 'txt', 'md', 'jinja', 'jinja2', 'tiktoken']);
const safeNames = new Set(['tokenizer.model', 'spiece.model', 'sentencepiece.bpe.model', 'sentencepiece.model']);
const safeBareName = /^(?:readme|license|licence|notice|copying|use_policy|acceptable_use_policy|copyright|authors|model|params|template|system|messages)$/i;

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function extensionOf(path: string): string {
  const name = nameOf(path);
  const dot = name.lastIndexOf('.');
  return dot <= 0 ? '' : name.slice(dot + 1).toLowerCase();
}

export function isSafeFormat(path: string): boolean {
  const name = nameOf(path);
  if (safeNames.has(name.toLowerCase())) return true;
  const extension = extensionOf(path);
  return extension === '' ? safeBareName.test(name) : safeExtensions.has(extension);
}

/** What a runtime or a person needs beside the weights: configuration, tokenizer, templates, card, licence. */
export function isCompanion(path: string): boolean {
  const name = nameOf(path).toLowerCase();
  if (path.includes('/') || !isSafeFormat(path)) return false;
  // A LoRA that the model's publisher put beside it is a part of it.
  if (name.endsWith('-adapter.gguf')) return true;
  if (/^(?:config|generation_config|preprocessor_config|processor_config|chat_template|special_tokens_map|added_tokens|vocab|merges|params|quantize_config|template|system|prompt|messages)\./.test(name)) return true;
  if (/^(?:tokenizer|spiece|sentencepiece)/.test(name) || /\.(?:jinja|jinja2|tiktoken)$/.test(name)) return true;
  return /^(?:readme|license|licence|notice|use_policy)/.test(name) || /\.safetensors\.index\.json$/.test(name);
}
