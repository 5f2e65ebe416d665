import { outcomeOfCode, type AuditRecord } from '../../../shared/audit-log.ts';

/** Equal ones within this time are one entry, beside the first. */
export const windowMs = 60_000;
/** Kept apart within one window; what comes from further ones is counted together. */
const sourcesMax = 50;

type Counted = { record: AuditRecord; repeats: number };

/**
 * Lets the first of equal refusals through at once, and tells how many more there were when its window is over: a
 * flood of them, also from ever new sources, makes no more than about a hundred entries a minute.
 */
export class RefusalCounter {
  readonly #bySource = new Map<string, Counted>();
  readonly #report: (record: AuditRecord, count: number) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (record: AuditRecord, count: number) => void) {
    this.#report = report;
  }

  add(record: AuditRecord): void {
    const own = keyOf(record);
    const key = this.#bySource.has(own) || this.#bySource.size < sourcesMax ? own : overflowKey(record);
    const known = this.#bySource.get(key);
    if (known) {
      known.repeats += 1;
      return;
    }
    const isOverflow = key !== own;
    this.#bySource.set(key, { record: isOverflow ? withoutSource(record) : record, repeats: isOverflow ? 1 : 0 });
    if (!isOverflow) this.#report(record, 1);
    this.#timer ??= setTimeout(() => this.flush(), windowMs).unref();
  }

  /** Tells what was counted; a new window begins with the next one. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const counted = [...this.#bySource.values()];
    this.#bySource.clear();
    for (const { record, repeats } of counted) if (repeats > 0) this.#report(record, repeats);
  }
}

/** Who, what and why: not the target, or somebody who tries one id after another would fill the table. */
function keyOf({ action, actor, errorCode, origin }: AuditRecord): string {
  return [action, errorCode, actor?.keyId ?? `peer ${origin.peer ?? ''}`].join(' ');
}

/** There are as many as actions and outcomes, at most. */
function overflowKey({ action, errorCode }: AuditRecord): string {
  return `others ${action} ${outcomeOfCode(errorCode)}`;
}

function withoutSource(record: AuditRecord): AuditRecord {
  return { ...record, actor: null, target: null, origin: { ...record.origin, peer: null } };
}
