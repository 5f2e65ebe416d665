import type { SourceStream } from './source-stream.ts';
import type { ModelSort, ModelSummary, SortOrder } from './types.ts';

/** What two sources' rows can be compared by; for other sorts they take turns. */
const comparable: Readonly<Partial<Record<ModelSort, (model: ModelSummary) => number | string | null>>> = {
  downloads: ({ downloads }) => downloads,
  likes: ({ likes }) => likes,
  updated: ({ updatedAt }) => updatedAt,
  created: ({ createdAt }) => createdAt,
  name: ({ name }) => name,
};

export type MergeRequest = {
  sort: ModelSort;
  order: SortOrder;
  limit: number;
  /** Index of the stream that is next where they take turns. */
  turn: number;
  /** Where the rest begins now, when the stream with the index `turn` is next. */
  cursorAt: (turn: number) => string;
};

export type Merged = { items: ModelSummary[]; /** One for each item, to go on after it. */ cursors: string[]; turn: number };

/** Up to `limit` rows of all streams in one order; each stream is in that order already. */
export async function mergeStreams(streams: readonly SourceStream[], request: MergeRequest): Promise<Merged> {
  const keyOf = comparable[request.sort];
  const lastKeys = new Map<SourceStream, number | string>();
  const items: ModelSummary[] = [];
  const cursors: string[] = [];
  const seen = new Set<string>();
  let { turn } = request;
  while (items.length < request.limit) {
    // Without every stream's next row the smallest is not known; side by side, so that they wait for the slowest only.
    await Promise.all(streams.map((stream) => stream.fill()));
    const index = keyOf ? indexOfNext(streams, (stream, head) => keyFor(stream, keyOf(head), lastKeys), request.order) : indexFrom(streams, turn);
    const stream = streams[index];
    const head = stream?.head;
    if (!stream || !head) break;
    stream.take();
    turn = (index + 1) % streams.length;
    // A source that changes between two pages may show a row twice.
    if (seen.has(head.id)) continue;
    seen.add(head.id);
    items.push(head);
    cursors.push(request.cursorAt(turn));
  }
  return { items, cursors, turn };
}

type Key = number | string | null;

/** A row that does not tell its figure stays where its own source has put it: beside the row before it. */
function keyFor(stream: SourceStream, key: Key, lastKeys: Map<SourceStream, number | string>): Key {
  if (key === null) return lastKeys.get(stream) ?? null;
  lastKeys.set(stream, key);
  return key;
}

function indexOfNext(streams: readonly SourceStream[], keyOf: (stream: SourceStream, head: ModelSummary) => Key, order: SortOrder): number {
  let best: { index: number; key: Key } | undefined;
  for (const [index, stream] of streams.entries()) {
    if (stream.head === undefined) continue;
    const key = keyOf(stream, stream.head);
    if (best === undefined || comesBefore(key, best.key, order)) best = { index, key };
  }
  return best?.index ?? -1;
}

function comesBefore(a: Key, b: Key, order: SortOrder): boolean {
  if (a === null || b === null || typeof a !== typeof b) return a === null && b !== null;
  return order === 'asc' ? a < b : a > b;
}

function indexFrom(streams: readonly SourceStream[], turn: number): number {
  for (let step = 0; step < streams.length; step += 1) {
    const index = (turn + step) % streams.length;
    if (streams[index]?.head !== undefined) return index;
  }
  return -1;
}
