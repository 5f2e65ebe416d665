import { SystemResourcesNowDocument } from '../../../../schema/generated/graphql.ts';
import { toRestJson } from '../../../shared/json-view.ts';
import { resources } from '../response-schemas.ts';
import { defineRoute, type RestRoute } from '../route.ts';

const now = defineRoute({
  method: 'GET',
  path: '/system/resources',
  operationId: 'getSystemResources',
  tag: 'System',
  summary: 'What the machine, this service and its deployments use now.',
  statuses: [200],
  response: resources,
  errors: [],
  async handle({ execute }) {
    const data = await execute(SystemResourcesNowDocument, {});
    return { status: 200, body: toRestJson(data.resources) };
  },
});

export const systemRoutes: readonly RestRoute[] = [now];
