import { afterEach, describe, expect, it } from '@jest/globals';
import { downloadFile, fileDownloadInfo, listFiles, listModels, modelInfo, pathsInfo } from '@huggingface/hub';
import { seededContent, sha256Of } from '../../support/hub/content.ts';
import type { Hub } from '../../support/hub/hub.ts';
import { createHub } from '../../support/hub/hub.ts';

const WEIGHTS = seededContent('client', 200_000);
const ID = 'acme/tiny';
let hub: Hub;
afterEach(() => hub.close());

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

describe('the JavaScript client of Hugging Face', () => {
  it('finds, lists and downloads from the double', async () => {
    hub = await createHub({ searchPageSize: 1, treePageSize: 1 });
    const { sha } = hub.addRepo({ id: ID, files: [{ path: 'README.md', content: '# Tiny\n' }, { path: 'sub/tiny.gguf', content: WEIGHTS }], likes: 7, pipelineTag: 'text-generation' });
    hub.addRepo({ id: 'acme/tiny-2', files: [{ path: 'tiny.gguf', content: WEIGHTS }], pipelineTag: 'text-generation' });
    const base = { hubUrl: hub.endpoint, repo: ID };
    const found = await collect(listModels({ hubUrl: hub.endpoint, search: { query: 'tiny', task: 'text-generation', tags: ['gguf'] }, sort: 'likes' }));
    expect(found.map(({ name, likes, task }) => [name, likes, task])).toEqual([[ID, 7, 'text-generation'], ['acme/tiny-2', 0, 'text-generation']]);
    expect(await modelInfo({ hubUrl: hub.endpoint, name: ID, additionalFields: ['sha', 'tags'] })).toMatchObject({ sha, tags: expect.arrayContaining(['gguf']) });
    const files = await collect(listFiles({ ...base, recursive: true, expand: true }));
    expect(files.filter(({ type }) => type === 'file').map(({ path, size, lfs }) => [path, size, lfs?.oid])).toEqual([['README.md', 7, undefined], ['sub/tiny.gguf', 200_000, sha256Of(WEIGHTS)]]);
    expect(await pathsInfo({ ...base, paths: ['sub/tiny.gguf'], expand: true })).toMatchObject([{ path: 'sub/tiny.gguf', size: 200_000 }]);
    expect(await fileDownloadInfo({ ...base, path: 'sub/tiny.gguf' })).toMatchObject({ size: 200_000, etag: `"${sha256Of(WEIGHTS)}"`, xet: { refreshUrl: expect.anything() } });
    const bytes = await (await downloadFile({ ...base, path: 'sub/tiny.gguf', xet: false }))?.arrayBuffer();
    expect(Buffer.from(bytes ?? new ArrayBuffer(0)).equals(WEIGHTS.slice(0, WEIGHTS.size))).toBe(true);
    expect(await (await downloadFile({ ...base, path: 'README.md' }))?.text()).toBe('# Tiny\n');
  });
});
