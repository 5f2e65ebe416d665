import type { ExportSource } from './export-source.ts';
import { controlCharacters } from './safe-markdown.ts';
import { Numbering, speakers } from './speakers.ts';

/** No script, nothing loaded from anywhere: the policy holds even if an escape were forgotten. */
const policy = "default-src 'none'; style-src 'unsafe-inline'";
const style = [
  ':root{color-scheme:light dark}body{max-width:48rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}',
  'article{border-top:1px solid #8886;padding:.5rem 0}h2{font-size:1rem;margin:.5rem 0}small{opacity:.7;font-weight:normal}',
  'pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:.5rem 0}.user pre{font-weight:600}',
].join('');

/** One file that a browser shows offline; the texts are shown as they were written. */
export async function* writeHtml({ session, messages, exportedAt }: ExportSource): AsyncGenerator<string> {
  const title = escape(session.title || 'New chat');
  yield `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="${policy}">\n<meta name="viewport" content="width=device-width">\n<title>${title}</title>\n<style>${style}</style>\n</head>\n<body>\n<h1>${title}</h1>\n<p><small>Exported ${exportedAt.toISOString()}</small></p>\n`;
  if (session.systemPrompt) yield `<article class="system">\n<h2>System prompt</h2>\n<pre>${escape(session.systemPrompt)}</pre>\n</article>\n`;
  const numbering = new Numbering();
  for await (const message of messages()) {
    const { number, facts } = numbering.next(message);
    const model = message.modelId === null ? '' : ` (${escape(message.modelId)})`;
    // A line break right after <pre> would be dropped by the browser, so one is put there.
    yield `<article class="${message.role}" id="m${number}">\n<h2>${number}. ${speakers[message.role]}${model} <small>${facts.map(escape).join(' · ')}</small></h2>\n<pre>\n${escape(message.content)}</pre>\n</article>\n`;
  }
  yield '</body>\n</html>\n';
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escape(text: string): string {
  return text.replaceAll('\r\n', '\n').replaceAll(controlCharacters, '').replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');
}
