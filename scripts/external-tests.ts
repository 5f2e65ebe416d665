/**
 * Integration tests that `npm run test:external` leaves out: neither a database nor events are in them, so that once more
 * would show nothing. A test of their own (test/unit/support/external-tests.test.ts) holds that.
 */
export const notOnThem: readonly string[] = [
  'catalog/',
  'deployments/(llama-cpp-engine-life|logs|memory-estimate)',
  'downloads/(blob-lock|byte-sources|full-speed|scan-thread|transfer)',
  // With a Redis and a PostgreSQL of their own.
  'infrastructure/(data-folder|embedded-database|redis-outages|wait-for-redis)',
  'system/system',
];

/** Starts a whole room on a database for each step of a download; `npm test -- --long` runs it. */
export const tooLong: readonly string[] = ['downloads/kill-each-step'];
