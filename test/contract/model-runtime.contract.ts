import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Keepsake, ModelRuntime, RunningModel, RuntimeHandle, RuntimeStart } from '../../src/domains/deployments/runtime.ts';
import type { DeploymentConfig } from '../../src/domains/deployments/types.ts';
import { StopReason } from '../../src/shared/abort.ts';
import { isAppError } from '../../src/shared/errors.ts';

/** What the suite needs to know of a runtime to try it. */
export type RuntimeUnderTest = {
  runtime: ModelRuntime;
  /** A request that starts. */
  good: Pick<RuntimeStart, 'modelPath' | 'config' | 'apiKey'>;
  /** A request that cannot start. */
  bad: Pick<RuntimeStart, 'modelPath' | 'config' | 'apiKey'>;
  /** A config that it cannot honour, and the fields that it names. */
  refused: { config: DeploymentConfig; fields: readonly string[] };
  /** Whether what the handle names is there. */
  isThere: (handle: RuntimeHandle) => Promise<boolean>;
  /** Ends the server behind the model's back. */
  breakServer: (handle: RuntimeHandle) => Promise<void>;
  /** Brings back a server that a start does not bring back. */
  mendServer?: () => Promise<void>;
  close: () => Promise<void>;
};

const never = new AbortController().signal;

/** Every runtime passes this, built in or not: `describeModelRuntime('mine', makeIt)` in a test file of its own. */
export function describeModelRuntime(name: string, make: () => Promise<RuntimeUnderTest>): void {
  describe(`the runtime ${name}`, () => {
    let subject: RuntimeUnderTest;
    let folder: string;
    const logged: string[] = [];
    const handles: RuntimeHandle[] = [];
    const models: RunningModel[] = [];

    beforeAll(async () => {
      subject = await make();
      folder = await mkdtemp(join(tmpdir(), 'llmm-runtime-'));
    });
    afterEach(async () => {
      for (const model of models.splice(0)) await model.stop(0, never);
    });
    afterAll(async () => {
      await subject.close();
      await rm(folder, { recursive: true });
    });

    function request(given: RuntimeUnderTest['good']): RuntimeStart {
      return {
        ...given,
        deploymentId: '0190a000-0000-7000-8000-000000000000',
        name: 'contract',
        logFile: join(folder, 'engine.out'),
        log: (_stream, _level, message) => logged.push(message),
        onHandle: (handle) => {
          handles.push(handle);
          return Promise.resolve();
        },
      };
    }

    async function start(): Promise<RunningModel> {
      const model = await subject.runtime.start(request(subject.good), never);
      models.push(model);
      return model;
    }

    it('tells what it is and whether it can be used here', async () => {
      const { id, capabilities } = subject.runtime;
      const info = await subject.runtime.probe(AbortSignal.timeout(2_000));
      expect(info).toMatchObject({ id, available: true, needsModel: capabilities.needsModel, formats: capabilities.formats });
    });

    it('takes a config that it can honour and names every field that it cannot', () => {
      expect(subject.runtime.validate(subject.good.config)).toEqual([]);
      expect(subject.runtime.validate(subject.refused.config).map((fault) => fault.field).sort()).toEqual([...subject.refused.fields].sort());
    });

    it('starts a server that answers in the shape of OpenAI, its handle told before; stopped, it leaves nothing of its own, nor ever its key in the log', async () => {
      handles.splice(0);
      const model = await start();
      expect(handles).toEqual([model.handle]);
      expect(JSON.parse(JSON.stringify(model.handle))).toEqual(model.handle);
      await model.check(AbortSignal.timeout(20_000));
      const answer = await fetch(`${model.baseUrl}/v1/models`, { headers: model.headers });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ data: expect.arrayContaining([expect.objectContaining({ id: model.model })]) });
      expect(Object.keys(await model.use()).sort()).toEqual(['cpuPercent', 'gpuMemoryBytes', 'memoryBytes']);
      await model.stop(1_000, never);
      expect(await subject.isThere(model.handle)).toBe(false);
      await model.stop(0, never);
      const written = (await readFile(join(folder, 'engine.out'), 'utf8').catch(() => '')) + logged.join('\n');
      for (const value of Object.values(model.headers)) expect(written).not.toContain(value.replace(/^Bearer /, ''));
    });

    it('fails its check when the server has gone', async () => {
      const model = await start();
      await subject.breakServer(model.handle);
      await expect(model.check(AbortSignal.timeout(5_000))).rejects.toThrow();
      await subject.mendServer?.();
    });

    it('says why a start failed and leaves nothing running', async () => {
      handles.splice(0);
      const failure = await subject.runtime.start(request(subject.bad), never).catch((error: unknown) => error);
      expect(isAppError(failure)).toBe(true);
      for (const handle of handles) expect(await subject.isThere(handle)).toBe(false);
    });

    it('gives up a start with the reason of the signal and leaves nothing running', async () => {
      handles.splice(0);
      const ended = new AbortController();
      const reason = new StopReason('stopped');
      const starting = subject.runtime.start({ ...request(subject.good), onHandle: (handle) => (handles.push(handle), ended.abort(reason), Promise.resolve()) }, ended.signal);
      const failure = await starting.catch((error: unknown) => error);
      // A runtime with nothing to wait for may be done before it looks at the signal.
      if (failure !== reason) models.push(failure as RunningModel);
      else for (const handle of handles) expect(await subject.isThere(handle)).toBe(false);
      ended.abort(reason);
      await expect(subject.runtime.start(request(subject.good), ended.signal)).rejects.toBe(reason);
    });

    it('ends what an earlier process left, and is content when nothing is left', async () => {
      const model = await start();
      await subject.runtime.endOrphan(model.handle, AbortSignal.timeout(10_000));
      expect(await subject.isThere(model.handle)).toBe(false);
      await subject.runtime.endOrphan(model.handle, AbortSignal.timeout(10_000));
    });

    it('takes over what an earlier process left, where it can, and takes nothing that is not there', async () => {
      const { adopt } = subject.runtime;
      const model = await start();
      if (!adopt) {
        expect(model.keepsake ?? null).toBeNull();
        return;
      }
      const { handle, keepsake } = model;
      expect(keepsake).toBeTruthy();
      const found = { ...request(subject.good), handle, keepsake: JSON.parse(JSON.stringify(keepsake)) as Keepsake, loggedUntil: null };
      const adopted = await adopt(found, never);
      expect(adopted).toMatchObject({ baseUrl: model.baseUrl, model: model.model, headers: model.headers, contextSize: model.contextSize, handle, keepsake });
      await adopted?.check(AbortSignal.timeout(20_000));
      await adopted?.stop(0, never);
      expect(await subject.isThere(handle)).toBe(false);
      expect(await adopt(found, never)).toBeNull();
    });
  });
}
