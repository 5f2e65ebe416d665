import { expect, it } from '@jest/globals';
import { readMessage } from '../../../src/domains/deployments/runtimes/llama-cpp/engine-message.ts';

const ready = { type: 'ready', pid: 1, port: 40_000, contextSize: 256, trainContextSize: 512, parallel: 2, threads: 1, gpu: false, gpuLayers: 0 };

it('takes what an engine says', () => {
  for (const message of [ready, { ...ready, gpu: 'cuda' }, { type: 'loading', progress: 0.5 }, { type: 'failed', code: 'PORT_IN_USE', message: 'Port 1 is in use.' }]) expect(readMessage(message)).toEqual(message);
});

it('takes nothing else, above all no port that leads elsewhere', () => {
  const odd = [{ ...ready, port: '1@evil.example:80' }, { ...ready, port: 0 }, { ...ready, port: 65_536 }, { ...ready, contextSize: -1 }, { ...ready, gpu: {} }, { type: 'loading', progress: Number.NaN }, { type: 'failed', code: 'NO_SUCH', message: '' }, { type: 'other' }, null, 'ready'];
  for (const message of odd) expect(readMessage(message)).toBeNull();
});
