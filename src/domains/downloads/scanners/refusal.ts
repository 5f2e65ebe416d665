import type { ScanFinding } from '../file-scanner.ts';

/** A rule that was broken in a way that makes looking further useless. */
export class ScanRefusal extends Error {
  override readonly name = 'ScanRefusal';
  readonly rule: string;

  constructor(rule: string, message: string) {
    super(message);
    this.rule = rule;
  }
}

export function block(rule: string, message: string): ScanFinding {
  return { rule, severity: 'block', message };
}

/** What `look` finds; a refusal that it throws is the finding. */
export function findings(look: () => readonly ScanFinding[]): readonly ScanFinding[] {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof ScanRefusal)) throw error;
    return [block(error.rule, error.message)];
  }
}

/** Text of a stranger within a sentence of ours: short, and without characters that could disturb a terminal. */
export function quoted(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 60)}...` : text;
  return JSON.stringify(short).replaceAll(/[^\u0020-\u007e]/g, '?');
}
