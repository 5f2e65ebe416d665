import { isAppError } from '../../../../shared/errors.ts';
import { decodeEntities, withoutTags } from '../../model-card.ts';
import { parseModelRef } from '../../model-ref.ts';

/**
 * ollama.com has no search API: its pages are read. Only links are relied on, because the site has dropped its
 * markers before; everything else is taken where it is found. Names and numbers are bounded, nothing is executed.
 */
export type LibraryCard = {
  /** `name`, or `user/name`. */
  name: string;
  description: string | null;
  capabilities: readonly string[];
  /** As in tags: `8b`, `135m`. */
  sizes: readonly string[];
  /** All-time, rounded by the site. */
  pulls: number | null;
  updatedAt: string | null;
};

export type LibraryPage = {
  cards: readonly LibraryCard[];
  hasNext: boolean;
  /** The page itself says that nothing was found: no cards are then no fault. */
  saysEmpty: boolean;
};

const hrefPattern = /\shref="([^"<>]{1,300})"/;
/** More links than any page has are not looked at. */
const linksMax = 2000;
/** How far before a link its list item may begin. */
const itemWindow = 2000;
const communityPath = /^\/([\w.-]{1,80}\/[\w.-]{1,80})$/;
const libraryPath = /^\/library\/([\w.-]{1,80})$/;
/** First segments that are the site's own. */
const siteSections = new Set(['api', 'blog', 'docs', 'library', 'models', 'public', 'search', 'settings', 'v2']);
const capabilityPattern = />\s*(audio|cloud|embedding|thinking|tools|vision)\s*</g;
/** Lower case: the counts of pulls are printed in capitals. */
const sizePattern = />\s*((?:\d{1,4}x)?[e]?\d{1,5}(?:\.\d{1,3})?[kmbt])\s*</g;
const pullsPattern = /(\d[\d.,]{0,12}\s?[KMBT]?)\s+(?:Pulls|Downloads)\b/i;
const titlePattern = /\stitle="([^"<>]{8,60})"/g;
const datePattern = /\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b.*\b\d{4}\b/;
const paragraphPattern = /<p(?:\s[^<>]{0,500})?>([^<]{1,4000})<\/p>/;
const usualPageSize = 20;

const units: Readonly<Record<string, number>> = { K: 1e3, M: 1e6, B: 1e9, T: 1e12 };

/** `107.3M` -> 107300000; null for what is no number. */
export function parseCount(text: string): number | null {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)\s*([KMBT]?)$/i.exec(text.replaceAll(',', '').trim());
  if (!match) return null;
  return Math.round(Number(match[1]) * (units[(match[2] ?? '').toUpperCase()] ?? 1));
}

function isModelName(name: string): boolean {
  try {
    return parseModelRef(`ollama:${name}`).revision === null;
  } catch (error) {
    if (isAppError(error)) return false;
    throw error;
  }
}

function nameOf(href: string, inListItem: boolean): string | null {
  const official = libraryPath.exec(href)?.[1];
  // A path of two segments could be any page of the site; in the list it is a user's model.
  const community = inListItem ? communityPath.exec(href)?.[1] : undefined;
  const name = official ?? (community !== undefined && !siteSections.has(community.split('/')[0] ?? '') ? community : undefined);
  return name !== undefined && isModelName(name) ? name : null;
}

function updatedIn(segment: string): string | null {
  for (const [, title = ''] of segment.matchAll(titlePattern)) {
    const time = datePattern.test(title) || /^[A-Z][a-z]{2}, \d/.test(title) ? Date.parse(title) : Number.NaN;
    if (!Number.isNaN(time)) return new Date(time).toISOString();
  }
  return null;
}

function textOf(html: string): string {
  return decodeEntities(withoutTags(html)).replace(/\s+/g, ' ').trim();
}

function toCard(name: string, segment: string): LibraryCard {
  const paragraph = paragraphPattern.exec(segment)?.[1];
  const pulls = pullsPattern.exec(textOf(segment))?.[1];
  return {
    name,
    description: paragraph === undefined || paragraph.trim() === '' ? null : decodeEntities(paragraph).replace(/\s+/g, ' ').trim().slice(0, 600),
    capabilities: [...new Set([...segment.matchAll(capabilityPattern)].map(([, word = '']) => word))],
    sizes: [...new Set([...segment.matchAll(sizePattern)].map(([, size = '']) => size))].slice(0, 50),
    pulls: pulls === undefined ? null : parseCount(pulls),
    updatedAt: updatedIn(segment),
  };
}

type Link = { href: string; at: number };

/** Links in the order of the page. Each character is passed once, whatever the page holds. */
function linksIn(html: string): Link[] {
  const links: Link[] = [];
  let at = html.indexOf('<a ');
  while (at !== -1 && links.length < linksMax) {
    const end = html.indexOf('>', at);
    if (end === -1) break;
    const href = hrefPattern.exec(html.slice(at, Math.min(end, at + 2000)))?.[1];
    if (href !== undefined) links.push({ href: decodeEntities(href), at });
    at = html.indexOf('<a ', end);
  }
  return links;
}

function isInListItem(html: string, at: number): boolean {
  const before = html.slice(Math.max(0, at - itemWindow), at);
  return before.lastIndexOf('<li') > before.lastIndexOf('</li>');
}

/** Where each model's part of the page starts: at its first link. */
function cardStarts(html: string): { name: string; at: number }[] {
  const starts = new Map<string, number>();
  for (const { href, at } of linksIn(html)) {
    const name = nameOf(href, isInListItem(html, at));
    if (name !== null && !starts.has(name)) starts.set(name, at);
  }
  return [...starts].map(([name, at]) => ({ name, at }));
}

export function parseSearchPage(html: string, page: number): LibraryPage {
  const starts = cardStarts(html);
  const cards = starts.map(({ name, at }, index) => {
    const itemEnd = html.indexOf('</li>', at);
    const end = Math.min(starts[index + 1]?.at ?? html.length, itemEnd === -1 ? html.length : itemEnd);
    return toCard(name, html.slice(at, end));
  });
  const linksNext = new RegExp(`[?&;]page=${page + 1}(?!\\d)`).test(html);
  const linksNone = !/[?&;]page=\d/.test(html);
  return {
    cards,
    // Without any link to pages a full page may have a successor; asking for one that is not there costs one request.
    hasNext: linksNext || (linksNone && cards.length >= usualPageSize),
    saysEmpty: cards.length === 0 && /\bno (?:models|results)\b/i.test(html),
  };
}

/** Tags that a model's tags page links to, in its order. */
export function parseTagsPage(html: string, name: string): string[] {
  const prefix = name.includes('/') ? `/${name}:` : `/library/${name}:`;
  const tags = new Set<string>();
  for (const { href: path } of linksIn(html)) {
    const tag = path.startsWith(prefix) ? path.slice(prefix.length) : '';
    if (/^[A-Za-z0-9_][\w.-]{0,79}$/.test(tag)) tags.add(tag);
  }
  return [...tags];
}
