import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { docsAssetsPrefix, sendDocsPage, serveDocsAsset } from '../../../src/adapters/rest/docs-page.ts';
import type { Exchange } from '../../../src/adapters/http/exchange.ts';

type Written = { status: number; headers: Record<string, string | number>; body: string };

function recordingResponse(): { res: ServerResponse; written: () => Written } {
  const chunks: Buffer[] = [];
  let status = 0;
  let headers: Record<string, string | number> = {};
  const res = Object.assign(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        chunks.push(Buffer.from(chunk));
        done();
      },
    }),
    {
      writeHead(code: number, given: Record<string, string | number>) {
        status = code;
        headers = given;
        return res;
      },
    },
  );
  return { res: res as unknown as ServerResponse, written: () => ({ status, headers, body: Buffer.concat(chunks).toString('utf8') }) };
}

async function asset(path: string): Promise<Written> {
  const { res, written } = recordingResponse();
  const exchange = { req: { method: 'GET' }, res, url: new URL(path, 'http://service.invalid') } as unknown as Exchange;
  await serveDocsAsset(exchange);
  return written();
}

describe('the documentation page', () => {
  it('loads nothing from elsewhere and is not allowed to', () => {
    const { res, written } = recordingResponse();
    sendDocsPage({ res, principal: null });
    const { status, headers, body } = written();
    expect(status).toBe(401);
    expect([...body.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, target]) => target).filter((target) => !target?.startsWith(`${docsAssetsPrefix}/`))).toEqual([]);
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(headers['content-security-policy']).toContain("script-src 'self';");
  });

  it('has every file that it names', async () => {
    const { res, written } = recordingResponse();
    sendDocsPage({ res, principal: { keyId: 'k', owner: 'o', role: 'VIEWER' } });
    const { status, body } = written();
    const files = [...body.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, target]) => target ?? '');
    expect(status).toBe(200);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect((await asset(file)).body.length).toBeGreaterThan(100);
  });

  it.each(['/../handler.ts', '/%2e%2e/package.json', '/package.json', '/', '/constructor', '/__proto__'])('gives out nothing else: %s', async (name) => {
    await expect(asset(`${docsAssetsPrefix}${name}`)).rejects.toMatchObject({ code: 'ROUTE_NOT_FOUND' });
  });
});
