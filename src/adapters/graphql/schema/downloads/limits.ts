import type { DownloadLimits as Limits } from '../../../../domains/downloads/types.ts';
import { builder } from '../../builder.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import { outcomeOf, UnavailableError } from '../user-error.ts';
import { wholeNumber } from '../validation.ts';

/** Below this downloads would hold their connections for days. */
const maxBytesPerSecondMin = 1024;

const DownloadLimits = builder.objectRef<Limits>('DownloadLimits').implement({
  description: 'What holds over all downloads together.',
  fields: (t) => ({
    maxBytesPerSecond: t.expose('maxBytesPerSecond', { type: 'ByteSize', nullable: true, description: 'Bytes per second over all downloads; null = no limit.' }),
    parallel: t.exposeInt('parallel', { description: 'Downloads that run at once.' }),
    parallelPerSource: t.exposeInt('parallelPerSource', { nullable: true, description: 'Of one source at once; null = as many as run at all.' }),
    connectionsPerHost: t.exposeInt('connectionsPerHost', { description: 'Connections to one host, all downloads together.' }),
  }),
});

const LimitDownloadsInput = builder.inputType('LimitDownloadsInput', {
  description: 'The limit of speed over all downloads.',
  fields: (t) => ({
    maxBytesPerSecond: t.field({
      type: 'ByteSize',
      description: `Bytes per second, at least ${maxBytesPerSecondMin}; null or left out lifts the limit.`,
      validate: wholeNumber(maxBytesPerSecondMin, Number.MAX_SAFE_INTEGER),
    }),
  }),
});

builder.queryField('downloadLimits', (t) =>
  t.field({ type: DownloadLimits, authScopes: { role: 'VIEWER' }, description: 'What holds over all downloads now.', resolve: (_root, _args, { services }) => services.downloads.limits() }),
);

builder.mutationField('limitDownloads', (t) =>
  t.field({
    type: payloadOf('LimitDownloads', 'limits', DownloadLimits),
    authScopes: { role: 'OPERATOR' },
    description: 'Changes the limit of speed over all downloads, felt at once by those that run. Holds over restarts, until the setting itself says something else than before.',
    args: { input: t.arg({ type: LimitDownloadsInput, required: true, description: 'The limit.' }) },
    errors: resultOf('LimitDownloads', [UnavailableError]),
    resolve: (_root, { input }, { services, signal }) => outcomeOf(async () => ({ limits: await services.downloads.limit(input.maxBytesPerSecond ?? null, signal) })),
  }),
);
