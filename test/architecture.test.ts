import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('../src', import.meta.url));

type Import = { file: string; target: string; isType: boolean };

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.split(path.sep).join('/'));

const importPattern = /^\s*(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;

/** Every import of a file, relative ones as paths below `src`. */
function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(importPattern)].map(([, type, specifier = '']) => ({
    file,
    target: specifier.startsWith('.') ? path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier)) : specifier,
    isType: type !== undefined,
  }));
}

const imports = files.flatMap(importsOf);
const isRelative = (entry: Import): boolean => entry.target.endsWith('.ts') && !entry.target.startsWith('..');

function roomOf(file: string): string {
  const [first = '', second] = file.split('/');
  return first === 'domains' ? `domains/${second ?? ''}` : first;
}

const show = (list: readonly Import[]): string[] => list.map(({ file, target }) => `${file} -> ${target}`);

/** `shared <- platform <- domains | infrastructure | adapters | plugins <- app.ts <- main.ts`. */
const allowedRooms: Readonly<Record<string, readonly string[]>> = {
  shared: [],
  platform: ['shared'],
  domains: ['shared', 'platform'],
  infrastructure: ['shared', 'platform'],
  adapters: ['shared', 'domains'],
  plugins: ['shared', 'domains'],
  cli: ['shared', 'platform', 'infrastructure', 'app.ts'],
};

/** Domains know each other by types and ids only, in this direction. */
const domainEdges: readonly string[] = [
  'domains/downloads -> domains/catalog',
  'domains/deployments -> domains/downloads',
  'domains/deployments -> domains/catalog',
  'domains/chat -> domains/deployments',
];

/** The entity list is the one thing of the domains that the database has to know. */
const infrastructureExceptions = new Set(['infrastructure/database/entities.ts']);
const isEntityOrRepository = (file: string): boolean => /\.(entity|repository)\.ts$/.test(file);

describe('rooms', () => {
  it('import only in the agreed direction', () => {
    const wrong = imports.filter(isRelative).filter(({ file, target }) => {
      const from = roomOf(file);
      const to = roomOf(target);
      if (from === to || !file.includes('/') || infrastructureExceptions.has(file)) return false;
      const kind = from.startsWith('domains/') ? 'domains' : from;
      const targetKind = to.startsWith('domains/') ? 'domains' : to;
      if (kind === 'domains' && targetKind === 'domains') return !domainEdges.includes(`${from} -> ${to}`);
      return !(allowedRooms[kind] ?? []).includes(targetKind);
    });
    expect(show(wrong)).toEqual([]);
  });

  it('know another domain by its types, and by plain data and pure functions of the edge they may use', () => {
    const wrong = imports
      .filter(isRelative)
      .filter(({ file, target, isType }) => file.startsWith('domains/') && target.startsWith('domains/') && roomOf(file) !== roomOf(target) && !isType)
      // Reading a model id, a machine's table or a plug-in's port needs no state and no driver.
      .filter(({ target }) => !/(model-ref|\.machine|types|source|runtime)\.ts$/.test(target));
    expect(show(wrong)).toEqual([]);
  });

  it('keep the command line outside of the service, whose API it uses like anybody else', () => {
    const allowed = /^infrastructure\/(config|data-folder|logging|lifecycle)\//;
    // The doctor has to say why a service cannot log in, when there is none to ask.
    const isDoctors = (file: string, target: string): boolean => file === 'cli/doctor/postgresql-check.ts' && target === 'infrastructure/database/sql-client.ts';
    const wrong = imports.filter(isRelative).filter(({ file, target }) => file.startsWith('cli/') && target.startsWith('infrastructure/') && !allowed.test(target) && !isDoctors(file, target));
    expect(show(wrong)).toEqual([]);
  });

  it('load the service for no command but serve, so that the others start quickly', () => {
    const seen = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const { target } of imports.filter((entry) => entry.file === file && isRelative(entry) && !entry.isType)) visit(target);
    };
    for (const file of files) if (file === 'main.ts' || (file.startsWith('cli/') && file !== 'cli/serve.ts')) visit(file);
    expect([...seen].filter((file) => file === 'app.ts' || /^(domains|adapters)\//.test(file))).toEqual([]);
  });

  it('leave construction to app.ts', () => {
    const wrong = imports.filter(isRelative).filter(({ file, target }) => (target === 'app.ts' || target === 'main.ts') && file !== 'cli/serve.ts');
    expect(show(wrong)).toEqual([]);
  });
});

describe('drivers', () => {
  it('keep MikroORM to entities, repositories and the database folder', () => {
    const wrong = imports.filter(
      ({ file, target, isType }) => target.startsWith('@mikro-orm/') && !isType && !isEntityOrRepository(file) && !file.startsWith('infrastructure/database/') && !file.startsWith('infrastructure/jobs/'),
    );
    expect(show(wrong)).toEqual([]);
  });

  it('keep GraphQL out of the domains and the infrastructure', () => {
    const isGraphql = (target: string): boolean => target === 'graphql' || /^(@pothos\/|graphql-yoga|graphql-ws|@envelop\/)/.test(target);
    const wrong = imports.filter(({ file, target }) => isGraphql(target) && !file.startsWith('adapters/'));
    expect(show(wrong)).toEqual([]);
  });

  it('keep sockets and HTTP clients out of the domains, except where that is the job', () => {
    const network = new Set(['node:http', 'node:https', 'node:net', 'node:tls', 'undici', 'ws', 'pg', 'ioredis']);
    const job = /^domains\/(catalog\/sources|downloads\/transfer|deployments\/runtimes|downloads\/scanners)\//;
    const wrong = imports.filter(({ file, target, isType }) => file.startsWith('domains/') && network.has(target) && !isType && !job.test(file));
    expect(show(wrong)).toEqual([]);
  });

  it('keep the shared room free of I/O', () => {
    const io = /^node:(fs|http|https|net|tls|child_process|dgram|worker_threads)/;
    const wrong = imports.filter(({ file, target }) => file.startsWith('shared/') && io.test(target));
    expect(show(wrong)).toEqual([]);
  });
});

describe('modules', () => {
  it('form no cycles', () => {
    const graph = Map.groupBy(imports.filter((entry) => isRelative(entry) && !entry.isType), ({ file }) => file);
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
        return;
      }
      if (done.has(file)) return;
      for (const { target } of graph.get(file) ?? []) visit(target, [...trail, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('re-export nothing, so that a name has one home', () => {
    const barrels = files.filter((file) => /^export\s+\*\s+from/m.test(readFileSync(path.join(root, file), 'utf8')));
    expect(barrels).toEqual([]);
  });
});

describe('dependencies', () => {
  const manifest = JSON.parse(readFileSync(path.join(root, '../package.json'), 'utf8')) as Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Record<string, string>>;

  it('are pinned to exact versions', () => {
    const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies };
    expect(Object.entries(all).filter(([, version]) => /^[\^~>]/.test(version))).toEqual([]);
  });

  it('hold MikroORM at one version in all its packages', () => {
    const versions = Object.entries(manifest.dependencies).filter(([name]) => name.startsWith('@mikro-orm/')).map(([, version]) => version);
    expect(new Set(versions).size).toBe(1);
  });
});
