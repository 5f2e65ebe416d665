import { builder } from '../../builder.ts';
import { connectionOf, pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { openStream } from '../../stream.ts';
import { Alert, AlertRule, AlertStatus } from './alert.ts';

const role = 'VIEWER';

const AlertConnection = connectionOf('Alert', Alert, 'alerts');

builder.queryField('alerts', (t) =>
  t.field({
    type: AlertConnection,
    authScopes: { role },
    complexity: pageCost,
    description: 'What rules have found, newest first. What is over is kept for 30 days, 10,000 of it at most.',
    args: { ...pageArgs, status: t.arg({ type: AlertStatus, description: 'Only in this state.' }) },
    resolve: async (_root, args, { services }, info) => toConnection(await services.alerts.list(args.status ? { status: args.status } : {}, toPageRequest(args, info)), args),
  }),
);

builder.queryField('alertRules', (t) =>
  t.field({
    type: [AlertRule],
    authScopes: { role },
    description: 'What is watched, oldest first; 200 rules at most.',
    resolve: async (_root, _args, { services }) => [...(await services.alerts.rules())],
  }),
);

builder.subscriptionField('alertRaised', (t) =>
  t.field({
    type: Alert,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'First the alerts that are open, oldest first, then each as it is raised. None comes twice on one subscription, and a slow reader misses none that is still open.',
    subscribe: (_root, _args, { services, signal }) => openStream((inner) => services.alerts.watchRaised(inner), { signal, startsAtOnce: false }),
    resolve: (alert) => alert,
  }),
);
