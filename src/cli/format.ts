import Table from 'cli-table3';
import prettyBytes from 'pretty-bytes';
import { toTerminalText } from '../infrastructure/logging/safe-text.ts';
import type { Output } from './output.ts';

const none = '-';

export function bytes(value: number | null | undefined): string {
  return value === null || value === undefined ? none : prettyBytes(value);
}

const countFormat = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? none : countFormat.format(value);
}

export function text(value: string | null | undefined): string {
  return value === null || value === undefined || value === '' ? none : value;
}

/** An enum value as people read it. */
export function word(value: string | null | undefined): string {
  return text(value).toLowerCase().replaceAll('_', ' ');
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours > 0) return `${hours}h ${minutes}m`;
  return minutes > 0 ? `${minutes}m ${rest}s` : `${rest}s`;
}

export function time(iso: string | null | undefined): string {
  return iso === null || iso === undefined ? none : iso.slice(0, 16).replace('T', ' ');
}

const noLines = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' };

/** Columns under their titles, without lines, so that `awk` and `grep` can work on them. */
export function columns(output: Output, titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const table = new Table({ chars: noLines, style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 } });
  table.push(titles.map((title) => output.style('bold', title)));
  // One row a line whatever the text holds; what it could do to a terminal is taken out before it is laid out.
  for (const row of rows) table.push(row.map((cell) => toTerminalText(cell).replaceAll(/\s+/g, ' ')));
  output.block(table.toString().replaceAll(/ +$/gm, ''));
}
