import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openOllama, type OpenOllama, tinyGguf } from '../../support/catalog/fixtures.ts';
import { never } from '../../support/downloads/room.ts';
import { useWorld } from '../../support/downloads/world.ts';
import { sha256Of, toContent } from '../../support/hub/content.ts';

const world = useWorld();
let ollama: OpenOllama;

beforeAll(async () => {
  ollama = await openOllama();
});

afterAll(() => ollama.close());

describe('a model of a source without a cache of its own', () => {
  it('lies in our folder by digest, under names that people can read, and goes away without a trace', async () => {
    await world.reopen({ source: ollama.source });
    const { room } = world;
    const { task } = await room.startDownload({ modelId: 'ollama:tiny' });
    const done = await room.reaches(task.id, 'completed', 'failed');
    expect(done).toMatchObject({ status: 'completed', modelId: 'ollama:tiny', error: null });
    expect(done.files.map(({ path }) => path).sort()).toEqual(['LICENSE.txt', 'params.json', 'template.txt', 'tiny-latest.gguf']);
    const [model] = await room.installed.findByModel('ollama:tiny');
    expect(model).toMatchObject({ variant: 'latest', format: 'gguf', verification: 'verified' });
    expect(model!.folder.startsWith(join(room.config.modelsDir, 'ollama/tiny/'))).toBe(true);
    const name = join(model!.folder, 'tiny-latest.gguf');
    expect(readFileSync(name).equals(tinyGguf)).toBe(true);
    expect(readlinkSync(name)).toMatch(new RegExp(`^(?:\\.\\./)+blobs/sha256-${sha256Of(toContent(tinyGguf))}$`));
    await room.installed.delete(model!.id, never);
    expect(readdirSync(room.config.modelsDir, { recursive: true })).toEqual([]);
    await expect(room.installed.delete(model!.id, never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
