import { builder } from '../../builder.ts';
import { openStream } from '../../stream.ts';
import { wholeNumber } from '../validation.ts';
import { ServerInfo } from './server-info.ts';
import { SystemResources } from './resources.ts';

const role = 'VIEWER';
const secondsMax = 3600;
/** Samples in an answer: two hours at one each minute, with room. */
const historyMultiplier = 100;

builder.queryField('systemResources', (t) =>
  t.field({
    type: SystemResources,
    authScopes: { role },
    description: 'What is used now; at most 2 s old.',
    resolve: (_root, _args, { services, signal }) => services.system.resources(signal),
  }),
);

builder.queryField('systemResourceHistory', (t) =>
  t.field({
    type: [SystemResources],
    authScopes: { role },
    complexity: { field: 1, multiplier: historyMultiplier },
    description: 'The last hours, oldest first, for plots.',
    args: {
      since: t.arg({ type: 'DateTime', required: true, description: 'From this time on.' }),
      resolution: t.arg.int({ required: true, defaultValue: 60, description: `Time between two of them, 1 to ${secondsMax} seconds.`, validate: wholeNumber(1, secondsMax) }),
    },
    resolve: (_root, { since, resolution }, { services }) => [...services.system.history(since, resolution)],
  }),
);

builder.queryField('serverInfo', (t) =>
  t.field({
    type: ServerInfo,
    authScopes: { role },
    description: 'What this service is.',
    resolve: (_root, _args, { services }) => services.serverInfo(),
  }),
);

builder.subscriptionField('systemResources', (t) =>
  t.field({
    type: SystemResources,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'What is used now, then again in each interval.',
    args: { interval: t.arg.int({ required: true, defaultValue: 2, description: `Time between two of them, 1 to ${secondsMax} seconds.`, validate: wholeNumber(1, secondsMax) }) },
    subscribe: (_root, { interval }, { services, signal }) => openStream((inner) => services.system.watch(interval, inner), { signal, startsAtOnce: false }),
    resolve: (sample) => sample,
  }),
);
