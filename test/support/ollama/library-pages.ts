/** HTML of the library: what is certain is the links; markers come and go, and names stand there twice. */

export type LibraryTag = {
  tag: string;
  /** As printed: `271MB`. */
  size: string;
  /** Hex; the page prints the first 12 digits. */
  digest: string;
  /** As printed: `8K`. */
  context?: string;
  input?: string;
};

export type LibraryModel = {
  /** `name`, or `user/name` for a community model. */
  name: string;
  description: string;
  capabilities?: readonly string[];
  sizes?: readonly string[];
  /** As printed: `107.3M`. */
  pulls?: string;
  /** ISO date. */
  updatedAt: string;
  tags: readonly LibraryTag[];
};

/** `markers`: the `x-test-*` attributes, which the site has dropped before. `cards`: nothing recognisable at all without. */
export type PageLook = { markers: boolean; cards: boolean };

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&#34;').replaceAll("'", '&#39;');
export const hrefOf = (name: string): string => (name.includes('/') ? `/${name}` : `/library/${name}`);

function marked(look: PageLook, marker: string, text: string): string {
  return `<span${look.markers ? ` ${marker}` : ''} class="inline-flex items-center">${escape(text)}</span>`;
}

function card(model: LibraryModel, look: PageLook): string {
  const { name, description, capabilities = [], sizes = [], pulls = '0', tags, updatedAt } = model;
  return `<li${look.markers ? ' x-test-model' : ''} class="flex items-baseline border-b border-neutral-200 py-6">
  <a href="${escape(hrefOf(name))}" class="group w-full">
    <div class="flex flex-col mb-1" title="${escape(name)}">
      <h2 class="truncate text-xl font-medium">${marked(look, 'x-test-search-response-title', name)}</h2>
      <p class="max-w-lg break-words text-neutral-800 text-md">${escape(description)}</p>
    </div>
    <div class="flex flex-wrap space-x-2">
      ${capabilities.map((capability) => marked(look, 'x-test-capability', capability)).join('\n      ')}
      ${sizes.map((size) => marked(look, 'x-test-size', size)).join('\n      ')}
    </div>
    <p class="my-1 flex space-x-5 text-[13px] font-medium text-neutral-500">
      <span class="flex items-center"><svg class="mr-1.5"></svg>${marked(look, 'x-test-pull-count', pulls)}<span class="hidden sm:flex">&nbsp;Pulls</span></span>
      <span class="flex items-center"><svg class="mr-1.5"></svg>${marked(look, 'x-test-tag-count', String(tags.length))}<span class="hidden sm:flex">&nbsp;Tags</span></span>
      <span class="flex items-center" title="${escape(new Date(updatedAt).toUTCString())}"><span class="hidden sm:flex">Updated&nbsp;</span>${marked(look, 'x-test-updated', '3 months ago')}</span>
    </p>
  </a>
</li>`;
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title></head>
<body><header><a href="/">Ollama</a><a href="/search">Models</a><a href="/download">Download</a></header>
<main>${body}</main><footer><a href="/blog">Blog</a></footer></body></html>
`;
}

export function searchPage(models: readonly LibraryModel[], look: PageLook, { more, fragment }: { more: string | null; fragment: boolean }): string {
  const shown = look.cards ? models : [];
  const next = more !== null && look.cards ? `\n<li hx-get="${escape(more)}" hx-trigger="revealed" hx-swap="outerHTML"></li>` : '';
  const list = `<ul role="list" class="grid grid-cols-1">${shown.map((model) => card(model, look)).join('\n')}${next}</ul>`;
  const empty = models.length === 0 && look.cards ? '<p>No models found</p>' : '';
  const results = `<div id="searchresults">${empty}${list}</div>`;
  return fragment ? results : page('Ollama Search', results);
}

export function modelPage(model: LibraryModel, look: PageLook): string {
  const tags = look.cards ? model.tags.slice(0, 5) : [];
  const links = tags.map(({ tag, size }) => `<a href="${escape(hrefOf(model.name))}:${escape(tag)}">${escape(tag)} ${escape(size)}</a>`).join('\n');
  return page(
    model.name,
    `<h1 title="${escape(model.name)}">${escape(model.name)}</h1><p id="summary-content">${escape(model.description)}</p>
<p>${marked(look, 'x-test-pull-count', model.pulls ?? '0')} Downloads</p><section>${links}<a href="${escape(hrefOf(model.name))}/tags">View all</a></section>`,
  );
}

/** Each tag twice, for narrow and wide screens: a reader has to fold them by link. */
function tagRow(model: LibraryModel, { tag, size, digest, context = '8K', input = 'Text' }: LibraryTag): string {
  const label = escape(`${model.name}:${tag}`);
  const href = `${escape(hrefOf(model.name))}:${escape(tag)}`;
  const short = digest.slice(0, 12);
  return `<div class="group px-4 py-3">
  <a href="${href}" class="md:hidden flex flex-col space-y-[6px]">
    <span class="group-hover:underline">${label}</span>
    <span><span class="font-mono">${short}</span> • ${escape(size)} • ${escape(context)} context window • ${escape(input)} input • 1 year ago</span>
  </a>
  <div class="hidden md:flex flex-col space-y-[6px]">
    <div class="grid grid-cols-12 items-center">
      <span class="col-span-6"><a href="${href}" class="group-hover:underline">${label}</a><input class="command hidden" value="${label}"></span>
      <p class="col-span-2">${escape(size)}</p><p class="col-span-2">${escape(context)}</p><div class="col-span-2">${escape(input)}</div>
    </div>
    <div class="flex text-xs"><span class="font-mono text-[11px]">${short}</span>&nbsp;·&nbsp;1 year ago</div>
  </div>
</div>`;
}

export function tagsPage(model: LibraryModel, look: PageLook): string {
  const rows = look.cards ? model.tags.map((tag) => tagRow(model, tag)).join('\n') : '';
  return page(`Tags · ${model.name}`, `<h1><a href="${escape(hrefOf(model.name))}">${escape(model.name)}</a></h1><section>${rows}</section>`);
}
