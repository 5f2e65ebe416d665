import type { ScanFinding } from '../file-scanner.ts';
import type { Bytes } from './bounded-file.ts';
import { nameOf } from '../planning/file-formats.ts';

const textBytesMax = 16 * 1024 * 1024;

type Suspicion = { rule: string; pattern: RegExp; what: string };

/** What a chat template never needs, and what those that broke out of their sandbox were made of. */
const suspicions: readonly Suspicion[] = [
  { rule: 'template.internals', pattern: /__\w+__|\|\s*attr\s*\(|\bmro\s*\(|\b(?:subclasses|globals|builtins|getattr|lipsum|cycler|joiner)\b/, what: "reaches for Python's internals" },
  { rule: 'template.call', pattern: /\b(?:eval|exec|compile|popen|system|subprocess|importlib|open)\s*\(|\b(?:os|sys|subprocess)\s*\./, what: 'calls something that a chat template has no use for' },
  { rule: 'template.include', pattern: /^-?\s*(?:import|include|extends|from\s+\S+\s+import)\b/, what: 'takes in other files' },
  { rule: 'template.self', pattern: /\b(?:self|config|request)\s*(?:\.|\[)/, what: 'reaches for the program around it' },
  { rule: 'template.escape', pattern: /\\x[0-9a-f]{2}|\\u00[0-7][0-9a-f]|~\s*['"]_+/i, what: 'hides names behind escapes' },
];

/** Only what Jinja would carry out: text between its marks may say anything. */
const statements = /\{%-?([\s\S]*?)-?%\}|\{\{-?([\s\S]*?)-?\}\}/g;

/** Templates are never rendered here; other programs do, and a person should know before. */
export function scanTemplate(template: string, where: string): readonly ScanFinding[] {
  const code = [...template.matchAll(statements)].map(([, statement, expression]) => statement ?? expression ?? '');
  return suspicions.flatMap(({ rule, pattern, what }): ScanFinding[] => (code.some((part) => pattern.test(part)) ? [{ rule, severity: 'warn', message: `The chat template in ${where} ${what}.` }] : []));
}

/** True for the files that hold a chat template, or that tell a program to run code of the repository. */
export function hasTemplate(path: string): boolean {
  const name = nameOf(path).toLowerCase();
  return /\.(?:jinja|jinja2)$/.test(name) || /^(?:tokenizer_config|chat_template|config|processor_config|template)(?:\.json)?$/.test(name);
}

export function scanTemplateFile(path: string, bytes: Bytes): readonly ScanFinding[] {
  if (bytes.size > textBytesMax) return [{ rule: 'template.size', severity: 'not_scanned', message: `${path} is too long to be looked through for templates.` }];
  const text = bytes.readAt(0, bytes.size).toString('utf8');
  if (!path.toLowerCase().endsWith('.json')) return scanTemplate(text, path);
  const parsed = parse(text);
  const found = templatesIn(parsed).flatMap((template) => scanTemplate(template, path));
  return hasKey(parsed, 'auto_map') ? [...found, { rule: 'config.remote_code', severity: 'warn', message: `${path} asks programs to run code that comes with the model.` }] : found;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The check of the format says so.
    return null;
  }
}

function hasKey(value: unknown, key: string): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key);
}

/** One template, or a list of `{name, template}`. */
function templatesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || !('chat_template' in value)) return [];
  const template: unknown = value.chat_template;
  const list: unknown[] = Array.isArray(template) ? template : typeof template === 'object' && template !== null ? Object.values(template) : [template];
  return list.flatMap((item) => {
    if (typeof item === 'string') return [item];
    return typeof item === 'object' && item !== null && 'template' in item && typeof item.template === 'string' ? [item.template] : [];
  });
}
