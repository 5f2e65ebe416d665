import { builder } from '../../builder.ts';
import type { ServerInfoView } from '../../context.ts';

export const ServerInfo = builder.objectRef<ServerInfoView>('ServerInfo').implement({
  description: 'What this service is.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Its name.' }),
    version: t.exposeString('version', { description: 'Its version.' }),
    startedAt: t.expose('startedAt', { type: 'DateTime', description: 'When it was started.' }),
    database: t.exposeString('database', { description: 'What holds its data.' }),
    events: t.exposeString('events', { description: 'How its events travel.' }),
    platform: t.exposeString('platform', { description: 'Operating system and processor.' }),
    nodeVersion: t.exposeString('nodeVersion', { description: 'Version of Node.js.' }),
  }),
});
