import type { ResourcesSample } from '../../../shared/resources-sample.ts';
import { metricTraits, type AlertMetric } from './alert-metrics.ts';
import { keyOfTarget, movingStatuses, readingsOfDeployment, readingsOfDownload, readingsOfSample, type Reading, type WatchedDeployment, type WatchedDownload } from './readings.ts';
import type { AlertTarget } from './types.ts';

/** Far more than one service has at once; of more the newest are left out. */
const watchedMax = 2_000;

type Download = { view: WatchedDownload; advancedAtMs: number };

/** What is known now of everything that rules can watch: of each thing the newest. */
export class Board {
  readonly #host: string;
  readonly #deployments = new Map<string, WatchedDeployment>();
  readonly #downloads = new Map<string, Download>();
  #sampled: readonly Reading[] | null = null;
  #hasDeployments = false;
  #hasDownloads = false;

  constructor(host: string) {
    this.#host = host;
  }

  sample(sample: ResourcesSample): void {
    this.#sampled = readingsOfSample(sample, this.#host);
  }

  allDeployments(views: readonly WatchedDeployment[]): void {
    this.#deployments.clear();
    this.#hasDeployments = true;
    for (const view of views) this.deployment(view);
  }

  deployment(view: WatchedDeployment): void {
    if (this.#deployments.size < watchedMax || this.#deployments.has(view.id)) this.#deployments.set(view.id, view);
  }

  noDeployment(id: string): void {
    this.#deployments.delete(id);
  }

  allDownloads(views: readonly WatchedDownload[], nowMs: number): void {
    const named = new Set(views.map(({ id }) => id));
    for (const id of this.#downloads.keys()) if (!named.has(id)) this.#downloads.delete(id);
    this.#hasDownloads = true;
    for (const view of views) this.download(view, nowMs);
  }

  /** Those that neither move nor have failed are nothing that a rule watches. */
  download(view: WatchedDownload, nowMs: number): void {
    const before = this.#downloads.get(view.id);
    const isMoving = movingStatuses.some((status) => status === view.status);
    if (!isMoving && view.status !== 'failed') {
      this.#downloads.delete(view.id);
      return;
    }
    if (!before && this.#downloads.size >= watchedMax) return;
    const isStill = before !== undefined && before.view.downloadedBytes >= view.downloadedBytes && isMoving;
    this.#downloads.set(view.id, { view, advancedAtMs: isStill ? before.advancedAtMs : nowMs });
  }

  progress(id: string, downloadedBytes: number, nowMs: number): void {
    const known = this.#downloads.get(id);
    if (known && downloadedBytes > known.view.downloadedBytes) this.#downloads.set(id, { view: { ...known.view, downloadedBytes }, advancedAtMs: nowMs });
  }

  noDownload(id: string): void {
    this.#downloads.delete(id);
  }

  readings(nowMs: number): Reading[] {
    return [
      ...(this.#sampled ?? []),
      ...[...this.#deployments.values()].flatMap(readingsOfDeployment),
      ...[...this.#downloads.values()].flatMap(({ view, advancedAtMs }) => readingsOfDownload(view, nowMs - advancedAtMs)),
    ];
  }

  /** Whether this is known not to be there any more. A disk or a card that cannot be read now is not gone. */
  isGone(metric: AlertMetric, target: AlertTarget, present: ReadonlySet<string>): boolean {
    if (present.has(readingKey(metric, target))) return false;
    if (target.kind === 'download') return this.#hasDownloads && this.#downloads.size < watchedMax;
    if (target.kind !== 'deployment') return false;
    return metricTraits[metric].threshold === null ? this.#hasDeployments && this.#deployments.size < watchedMax : this.#sampled !== null;
  }

  /** Whether this process has measured its machine at all. */
  get isSampled(): boolean {
    return this.#sampled !== null;
  }
}

export function readingKey(metric: AlertMetric, target: AlertTarget): string {
  return `${metric}/${keyOfTarget(target)}`;
}
