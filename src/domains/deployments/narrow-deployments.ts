import { AppError } from '../../shared/errors.ts';
import { mayUseDeployment, type Principal } from '../../shared/principal.ts';
import type { Deployments, DeploymentView } from './types.ts';

function notFound(): AppError {
  return new AppError('DEPLOYMENT_NOT_FOUND', 'There is no such deployment.');
}

/** The deployments as somebody sees them whose key is for some of them only: all others are not there. */
export function narrowDeployments(all: Deployments, principal: Pick<Principal, 'allowedDeployments'>): Deployments {
  const { allowedDeployments } = principal;
  if (allowedDeployments === undefined) return all;
  const may = (id: string): boolean => mayUseDeployment(principal, id);
  const assertMay = (id: string): void => {
    if (!may(id)) throw notFound();
  };
  const seen = (views: readonly DeploymentView[]): DeploymentView[] => views.filter(({ id }) => may(id));
  const guarded = guardedBy(assertMay);
  return {
    start: async (input, caller, signal) => {
      if (input.deploymentId === undefined) throw new AppError('FORBIDDEN', 'This key is for certain deployments: it starts no new ones.');
      assertMay(input.deploymentId);
      return await all.start(input, caller, signal);
    },
    stop: guarded((id, signal) => all.stop(id, signal)),
    restart: guarded((id, caller, signal) => all.restart(id, caller, signal)),
    update: guarded((id, change, signal) => all.update(id, change, signal)),
    delete: guarded((id, signal) => all.delete(id, signal)),
    find: async (id) => (may(id) ? await all.find(id) : null),
    findByName: async (name) => {
      const found = await all.findByName(name);
      return found && may(found.id) ? found : null;
    },
    get: guarded((id) => all.get(id)),
    list: (filter, page) => all.list({ ...filter, ids: allowedDeployments }, page),
    findMany: async (ids) => seen(await all.findMany(ids.filter(may))),
    listByModels: async (modelIds, limitEach) => seen(await all.listByModels(modelIds, limitEach)),
    events: guarded((id, page) => all.events(id, page)),
    logs: guarded((id, query, signal) => all.logs(id, query, signal)),
    async *followLogs(id, options, signal) {
      assertMay(id);
      yield* all.followLogs(id, options, signal);
    },
    async *watch(id, signal) {
      if (id !== null) assertMay(id);
      for await (const view of all.watch(id, signal)) if (may(view.id)) yield view;
    },
    runtimes: (signal) => all.runtimes(signal),
    ownModels: (runtimeId, signal) => all.ownModels(runtimeId, signal),
    fit: (request, signal) => all.fit(request, signal),
    target: guarded((id, signal) => all.target(id, signal)),
    ensureReady: guarded((id, signal) => all.ensureReady(id, signal)),
    usesInstalledModel: (installedModelId) => all.usesInstalledModel(installedModelId),
  };
}

/** Refuses before the call is made, as a rejection. */
function guardedBy(assertMay: (id: string) => void) {
  return <Rest extends readonly unknown[], Result>(call: (id: string, ...rest: Rest) => Promise<Result>) =>
    async (id: string, ...rest: Rest): Promise<Result> => {
      assertMay(id);
      return await call(id, ...rest);
    };
}
