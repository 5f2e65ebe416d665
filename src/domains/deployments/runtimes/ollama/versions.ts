/** Models are made from an uploaded file (`files` of `/api/create`) since this one. */
const oldest = [0, 5, 5] as const;

/** Releases with a fault that hits what we do; `before` is the first that does not have it. */
const faults: readonly { from: string; before: string; why: string }[] = [
  { from: '0.0.1', before: '0.17.1', why: 'a prepared model file can make it give away its memory (CVE-2026-7482); update it' },
  { from: '0.34.2', before: '0.34.3', why: 'pulls that are redirected to another host fail (ollama#18526); update it' },
];

/** Why a server of this version cannot be used, and what to know of one that can. `0.0.0` is a build from source. */
export function judgeVersion(version: string): { fault: string | null; warning: string | null } {
  const parts = parse(version);
  // Builds from source and forks name themselves as they like; what they can do shows when they are asked.
  if (parts === null || parts.every((part) => part === 0)) return { fault: null, warning: null };
  if (compare(parts, oldest) < 0) return { fault: `Version ${version} is too old; ${oldest.join('.')} is the first that can be used.`, warning: null };
  const known = faults.find(({ from, before }) => compare(parts, parse(from) ?? []) >= 0 && compare(parts, parse(before) ?? []) < 0);
  return { fault: null, warning: known ? `Version ${version} has a known fault: ${known.why}.` : null };
}

function parse(version: string): readonly number[] | null {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version);
  return match ? match.slice(1).map(Number) : null;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < 3; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
