import * as z from 'zod';
import { defineRoute, type RestRoute } from '../route.ts';
import { chatRoutes } from './chat.ts';
import { deploymentRoutes } from './deployments.ts';
import { downloadRoutes } from './downloads.ts';
import { modelRoutes } from './models.ts';
import { systemRoutes } from './system.ts';

/** Every documented route; the first that matches a path wins. */
export const restRoutes: readonly RestRoute[] = [...modelRoutes, ...downloadRoutes, ...deploymentRoutes, ...systemRoutes, ...chatRoutes];

/** The route that describes all routes, itself included. */
export function openApiRoute(build: () => Record<string, unknown>): RestRoute {
  return defineRoute({
    method: 'GET',
    path: '/openapi.json',
    operationId: 'getOpenApi',
    tag: 'System',
    summary: 'This description of every route, as OpenAPI 3.1; a page shows it at /api/docs.',
    statuses: [200],
    response: z.record(z.string(), z.unknown()),
    errors: [],
    handle: () => Promise.resolve({ status: 200, body: build() }),
  });
}
