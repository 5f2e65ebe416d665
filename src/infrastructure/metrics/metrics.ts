import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Finer below the bounds that the interface promises (100 ms, 500 ms). */
const httpBucketsSeconds = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export type Metrics = {
  /** `route` is the mounted prefix, never a path that a caller made up. */
  observeHttp: (route: string, method: string, status: number, durationSeconds: number) => void;
  /** A figure that is read when somebody asks for the metrics; `read` answers one value per label value. */
  gauge: (name: string, help: string, label: string, read: () => Promise<ReadonlyMap<string, number>>) => void;
  /** The Prometheus text. */
  render: () => Promise<{ contentType: string; text: string }>;
};

const knownMethods = new Set(['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH']);

/** A registry of its own, so that two services in one process (tests) do not share figures. */
export function createMetrics(version: string): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'llm_manager_info', help: 'The running version.', labelNames: ['version'], registers: [registry] }).set({ version }, 1);
  const http = new Histogram({
    name: 'llm_manager_http_request_duration_seconds',
    help: 'Time from the request to the end of its answer; streams count as long as they last.',
    labelNames: ['route', 'method', 'status'],
    buckets: httpBucketsSeconds,
    registers: [registry],
  });
  return {
    observeHttp: (route, method, status, durationSeconds) =>
      http.observe({ route, method: knownMethods.has(method) ? method : 'other', status: String(status) }, durationSeconds),
    gauge(name, help, label, read) {
      const gauge: Gauge = new Gauge({
        name,
        help,
        labelNames: [label],
        registers: [registry],
        async collect() {
          const values = await read();
          gauge.reset();
          for (const [value, figure] of values) gauge.set({ [label]: value }, figure);
        },
      });
    },
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}
