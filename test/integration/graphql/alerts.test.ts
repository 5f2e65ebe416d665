import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newId } from '../../../src/shared/ids.ts';
import { AlertsWorld, type AlertsProcess } from '../../support/alerts-world.ts';
import { createTestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';

let world: AlertsWorld;
let process: AlertsProcess;
let bench: GraphqlBench;
const deploymentId = newId();
const nobody = newId();

beforeAll(async () => {
  world = new AlertsWorld(await createTestDatabase());
  await world.reset({ withDefaults: true });
  process = await world.open();
  bench = await startGraphqlBench();
  bench.world.services.alerts = process.room.alerts;
  world.deployment(process, deploymentId, 'running');
});
afterAll(async () => {
  await bench.close();
  await world.stopAll();
  await world.database.drop();
});

const create = 'mutation ($input: CreateAlertRuleInput!) { createAlertRule(input: $input) { __typename ... on CreateAlertRulePayload { rule { id ruleId comparison target channels severity enabled forSeconds } } ... on UserError { code message path } } }';
const update = 'mutation ($input: UpdateAlertRuleInput!) { updateAlertRule(input: $input) { __typename ... on UpdateAlertRulePayload { rule { name threshold target channels forSeconds } } ... on UserError { code } } }';
const made = async (input: object): Promise<{ id: string; ruleId: string }> => (await bench.ask(create, { input: { name: 'rule', ...input } })).body.data?.['createAlertRule'] as never;
const ruleOf = (answer: unknown): { id: string; ruleId: string } & Record<string, unknown> => (answer as { rule: never }).rule;

describe('createAlertRule', () => {
  const refused: [string, object, string][] = [
    ['a threshold out of range', { metric: 'CPU_USED_PERCENT', threshold: 101 }, 'threshold'],
    ['a threshold that is missing', { metric: 'DISK_FREE_BYTES' }, 'threshold'],
    ['a threshold of a state', { metric: 'DEPLOYMENT_FAILED', threshold: 1 }, 'threshold'],
    ['a comparison of a state', { metric: 'DOWNLOAD_FAILED', comparison: 'ABOVE' }, 'comparison'],
    ['a time that is negative', { metric: 'DEPLOYMENT_FAILED', forSeconds: -1 }, 'input.forSeconds'],
    ['a time of more than a day', { metric: 'DEPLOYMENT_FAILED', forSeconds: 86_401 }, 'input.forSeconds'],
    ['a name with line breaks', { metric: 'DEPLOYMENT_FAILED', name: 'a\nb' }, 'input.name'],
    ['a name that is too long', { metric: 'DEPLOYMENT_FAILED', name: 'x'.repeat(201) }, 'input.name'],
    ['a name of spaces', { metric: 'DEPLOYMENT_FAILED', name: '   ' }, 'input.name'],
    ['a channel that there is not', { metric: 'DEPLOYMENT_FAILED', channels: ['log', 'pager'] }, 'channels'],
    ['more channels than there can be', { metric: 'DEPLOYMENT_FAILED', channels: Array.from({ length: 21 }, () => 'log') }, 'channels'],
    ['a target of what is of the whole machine', { metric: 'MEMORY_USED_PERCENT', threshold: 1, target: 'here' }, 'target'],
    ['a target among downloads', { metric: 'DOWNLOAD_FAILED', target: nobody }, 'target'],
    ['a target with NUL', { metric: 'DISK_FREE_BYTES', threshold: 1, target: '/a\0b' }, 'input.target'],
  ];
  it.each(refused)('refuses %s and names the field', async (_what, input, field) => {
    const { body } = await bench.ask(create, { input: { name: 'rule', ...input } });
    expect(body.errors?.map(({ extensions }) => [extensions.code, (extensions.details?.['fields'] as { field: string }[])[0]?.field])).toEqual([['VALIDATION_FAILED', field]]);
  });

  it.each([['DEPLOYMENT_FAILED', nobody], ['DEPLOYMENT_FAILED', 'no id at all'], ['DISK_FREE_BYTES', '/nowhere'], ['GPU_TEMPERATURE_CELSIUS', 'GPU-9']])('answers for %s that there is no target %s', async (metric, target) => {
    const threshold = metric === 'DEPLOYMENT_FAILED' ? {} : { threshold: 10 };
    expect(await made({ metric, target, ...threshold })).toMatchObject({ __typename: 'NotFoundError', code: 'NOT_FOUND', path: ['input'] });
  });

  it('refuses a metric that does not exist, and a number that is none', async () => {
    for (const input of [{ metric: 'MOON_PHASE' }, { metric: 'CPU_USED_PERCENT', threshold: 'hot' }, { metric: 'CPU_USED_PERCENT', threshold: 1e400 }]) {
      expect((await bench.ask(create, { input: { name: 'rule', ...input } })).body.errors?.[0]?.extensions.code).toBe('VALIDATION_FAILED');
    }
  });

  it('takes a deployment by its global id, and fills in what is left out', async () => {
    const target = Buffer.from(`Deployment:${deploymentId}`).toString('base64');
    expect(ruleOf(await made({ metric: 'DEPLOYMENT_MEMORY_BYTES', threshold: 2 ** 40, target }))).toMatchObject({ target: deploymentId, comparison: 'ABOVE', channels: null, severity: 'WARNING', enabled: true, forSeconds: 0 });
    expect(ruleOf(await made({ metric: 'DISK_FREE_PERCENT', threshold: 0 }))).toMatchObject({ comparison: 'BELOW', target: null });
  });

  it('makes no more than 200 rules', async () => {
    const count = (await process.room.alerts.rules()).length;
    const answers = await Promise.all(Array.from({ length: 203 - count }, () => made({ metric: 'DOWNLOAD_FAILED', enabled: false })));
    expect(answers.filter((answer) => 'rule' in (answer as object))).toHaveLength(200 - count);
    expect(answers.find((answer) => !('rule' in (answer as object)))).toMatchObject({ __typename: 'InvalidStateError', code: 'INVALID_STATE' });
    for (const { id, enabled } of await process.room.alerts.rules()) if (!enabled) await process.room.alerts.deleteRule(id, bench.world.principals.get(bench.world.keyOf('ADMIN'))!);
  });
});

describe('updateAlertRule', () => {
  it('changes what is given, and takes null for all where there is an all', async () => {
    const { ruleId } = ruleOf(await made({ metric: 'DEPLOYMENT_MEMORY_BYTES', threshold: 2 ** 40, target: deploymentId, channels: ['log'], forSeconds: 5 }));
    const change = async (input: object) => (await bench.ask(update, { input: { ruleId, ...input } })).body;
    expect((await change({ name: 'renamed' })).data?.['updateAlertRule']).toMatchObject({ rule: { name: 'renamed', threshold: 2 ** 40, target: deploymentId, channels: ['log'], forSeconds: 5 } });
    expect((await change({ target: null, channels: null, threshold: null, name: null })).data?.['updateAlertRule']).toMatchObject({ rule: { name: 'renamed', threshold: 2 ** 40, target: null, channels: null } });
    expect((await change({ threshold: 0 })).errors?.[0]?.extensions.code).toBe('VALIDATION_FAILED');
    expect((await change({ channels: ['pager'] })).errors?.[0]?.extensions.code).toBe('VALIDATION_FAILED');
  });
});

describe('a rule that does not exist', () => {
  it.each(['updateAlertRule', 'deleteAlertRule'])('is not found by %s', async (name) => {
    const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
    for (const ruleId of [nobody, 'no id', Buffer.from(`Deployment:${nobody}`).toString('base64')]) {
      const { body } = await bench.ask(`mutation ($input: ${type}!) { ${name}(input: $input) { ... on UserError { code } } }`, { input: { ruleId } });
      expect(body.data).toEqual({ [name]: { code: 'NOT_FOUND' } });
    }
  });
});

describe('alerts', () => {
  it('come in pages by cursor, by state, with what was sent of them, and by node', async () => {
    const ids = Array.from({ length: 3 }, () => newId());
    for (const id of ids) world.deployment(process, id, 'failed');
    await eventually('all are raised', async () => (await world.alerts(process)).length === ids.length);
    await eventually('all are told', () => world.channel.notices.length === ids.length);
    const list = 'query ($after: String, $status: AlertStatus) { alerts(first: 2, after: $after, status: $status) { totalCount nodes { id alertId severity target { kind targetId } deliveries { channel event } } pageInfo { hasNextPage endCursor } } }';
    type Answer = { totalCount: number; nodes: { id: string; alertId: string; target: { targetId: string }; deliveries: { channel: string }[] }[]; pageInfo: { hasNextPage: boolean; endCursor: string } };
    const page = async (variables: object) => (await bench.ask(list, { ...variables })).body.data?.['alerts'] as Answer;
    const first = await page({});
    const second = await page({ after: first.pageInfo.endCursor });
    expect([first.totalCount, first.pageInfo.hasNextPage, second.pageInfo.hasNextPage]).toEqual([3, true, false]);
    expect([...first.nodes, ...second.nodes].map(({ target }) => target.targetId).toSorted()).toEqual(ids.toSorted());
    expect(first.nodes[0]!.deliveries.map(({ channel }) => channel).toSorted()).toEqual(['log', 'recording']);
    expect((await page({ status: 'RESOLVED' })).totalCount).toBe(0);
    const node = await bench.ask('query ($id: ID!) { node(id: $id) { __typename ... on Alert { alertId ruleName } } }', { id: first.nodes[0]!.id }, bench.world.keyOf('VIEWER'));
    expect(node.body.data?.['node']).toEqual({ __typename: 'Alert', alertId: first.nodes[0]!.alertId, ruleName: 'Deployment failed' });
  });

  it.each([['first: 0'], ['first: 101'], ['after: "not a cursor"']])('refuse %s', async (args) => {
    expect((await bench.ask(`{ alerts(${args}) { totalCount } }`)).body.errors?.[0]?.extensions.code).toBe('VALIDATION_FAILED');
  });

  it('that do not exist cannot be acknowledged', async () => {
    for (const alertId of [nobody, '', 'x'.repeat(600)]) {
      const { body } = await bench.ask('mutation ($input: AcknowledgeAlertInput!) { acknowledgeAlert(input: $input) { ... on UserError { code } } }', { input: { alertId } }, bench.world.keyOf('OPERATOR'));
      expect(body.data).toEqual({ acknowledgeAlert: { code: 'NOT_FOUND' } });
    }
  });
});
