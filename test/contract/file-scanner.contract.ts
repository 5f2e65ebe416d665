import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { FileScanner, ScanTarget } from '../../src/domains/downloads/file-scanner.ts';
import { findingSeverities } from '../../src/domains/downloads/file-scanner.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';

export type Sample = { path: string; content: Buffer | string; sourceStatus?: ScanTarget['sourceStatus'] };

export type ScannerWorld = {
  scanner: FileScanner;
  /** Files that the scanner accepts and has nothing against. */
  harmless: readonly Sample[];
  /** Files that it accepts and refuses or warns of. */
  harmful: readonly Sample[];
  close(): Promise<void>;
};

const inTime = (): AbortSignal => AbortSignal.timeout(20_000);

/** What every scanner promises; a plug-in's author calls it in tests of their own. */
export function describeFileScanner(name: string, open: () => Promise<ScannerWorld>): void {
  describe(`the scanner ${name}`, () => {
    let world: ScannerWorld;
    let folder: TemporaryFolder;
    let count = 0;
    const place = ({ path, content, sourceStatus = null }: Sample): ScanTarget => {
      const file = join(folder.path, `${(count += 1)}.part`);
      writeFileSync(file, content);
      return { path, file, sizeBytes: Buffer.byteLength(content), sourceStatus };
    };

    beforeAll(async () => {
      [world, folder] = await Promise.all([open(), createTemporaryFolder('scanner')]);
    });
    afterAll(async () => {
      await world.close();
      await folder.remove();
    });

    it('has a short stable id and a version', () => {
      expect(world.scanner.id).toMatch(/^[a-z][a-z0-9-]{0,31}$/);
      expect(world.scanner.version).toMatch(/^[\w.-]{1,32}$/);
    });

    it('has nothing against a harmless file', async () => {
      for (const sample of world.harmless) {
        const target = place(sample);
        expect(world.scanner.accepts(target)).toBe(true);
        const findings = await world.scanner.scan(target, inTime());
        expect(findings.filter(({ severity }) => severity !== 'info')).toEqual([]);
      }
    });

    it('says of a harmful one which rule it breaks, in a sentence', async () => {
      for (const sample of world.harmful) {
        const target = place(sample);
        expect(world.scanner.accepts(target)).toBe(true);
        const findings = await world.scanner.scan(target, inTime());
        expect(findings.some(({ severity }) => severity === 'block' || severity === 'warn')).toBe(true);
        for (const { rule, severity, message } of findings) {
          expect(rule).toMatch(/^[a-z0-9_]+\.[a-z0-9_]+$/);
          expect(findingSeverities).toContain(severity);
          expect(message).toMatch(/^[^\n]{5,500}\.$/);
        }
      }
    });

    it('reads only', async () => {
      for (const sample of [...world.harmless, ...world.harmful]) {
        const target = place(sample);
        const digest = (): string => createHash('sha256').update(readFileSync(target.file)).digest('hex');
        const before = digest();
        await world.scanner.scan(target, inTime());
        expect(digest()).toBe(before);
      }
    });

    it('looks at many files at once as at one after the other', async () => {
      const samples = Array.from({ length: 8 }, () => [...world.harmless, ...world.harmful]).flat();
      const targets = samples.map(place);
      const results = await Promise.all(targets.map((target) => world.scanner.scan(target, inTime())));
      const hits = results.map((findings) => findings.some(({ severity }) => severity !== 'info'));
      expect(hits).toEqual(samples.map((sample) => world.harmful.includes(sample)));
    });

    it("ends with the signal's reason", async () => {
      const [sample] = world.harmless;
      if (!sample) return;
      const reason = new Error('enough');
      await expect(world.scanner.scan(place(sample), AbortSignal.abort(reason))).rejects.toBe(reason);
    });
  });
}
