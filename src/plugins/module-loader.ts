import { existsSync, realpathSync } from 'node:fs';
import { findPackageJSON, registerHooks } from 'node:module';
import { dirname, isAbsolute, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { abortable } from '../shared/async.ts';
import { firstLine, PluginFault } from './plugin-fault.ts';
import { type Plugin, pluginMark } from './plugin.ts';

/** `folder`: where its own code lies. */
export type LoadedModule = { specifier: string; folder: string; plugins: readonly Plugin[] };

const loadMs = 10_000;
const here = import.meta.url;
const publicPrefix = 'llm-manager/';

/**
 * Imports modules of plug-ins. They lie anywhere, and this service in no `node_modules` of theirs: what they import as
 * `llm-manager/...` is this very copy, whose errors are then the same. `close` it when the service ends; until then a
 * plug-in may import later on.
 */
export class ModuleLoader {
  readonly #from: string;
  readonly #hooks: { deregister(): void };
  /** Where packages were found, by name. */
  readonly #found = new Map<string, string>();

  /** `from`: the folder in which packages are looked for before those beside this service. */
  constructor(from: string) {
    this.#from = from;
    this.#hooks = registerHooks({
      resolve: (asked, context, next) => {
        if (asked.startsWith(publicPrefix)) return next(asked, { ...context, parentURL: here });
        if (context.parentURL !== here || !this.#found.has(asked)) return next(asked, context);
        const resolved = existsFrom(this.#from, asked) ? next(asked, { ...context, parentURL: pathToFileURL(join(this.#from, 'plugins.js')).href }) : next(asked, context);
        this.#found.set(asked, resolved.url);
        return resolved;
      },
    });
  }

  /** `specifier`: an absolute path or the name of a package. Throws PluginFault, and the signal's reason. */
  async load(specifier: string, signal: AbortSignal): Promise<LoadedModule> {
    const isFile = isAbsolute(specifier);
    if (isFile && !existsSync(specifier)) throw new PluginFault('there is no such file');
    const limit = AbortSignal.timeout(loadMs);
    if (!isFile) this.#found.set(specifier, '');
    try {
      const exported = (await abortable(import(isFile ? pathToFileURL(specifier).href : specifier), AbortSignal.any([signal, limit]))) as Readonly<Record<string, unknown>>;
      const plugins = [...new Set(Object.values(exported).filter(isPlugin))];
      if (plugins.length === 0) throw new PluginFault('exports nothing that was made with definePlugin');
      return { specifier, folder: isFile ? dirname(realpathSync(specifier)) : this.#folderOf(specifier), plugins };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof PluginFault) throw error;
      throw new PluginFault(limit.aborted ? `did not load within ${loadMs / 1_000} s` : `cannot be loaded: ${firstLine(error)}`, { cause: error });
    }
  }

  close(): void {
    this.#hooks.deregister();
  }

  #folderOf(name: string): string {
    return dirname(findPackageJSON(this.#found.get(name) ?? name, here) ?? here);
  }
}

function isPlugin(value: unknown): value is Plugin {
  return typeof value === 'object' && value !== null && pluginMark in value;
}

/** Whether a package of that name is installed in the folder or above it. */
function existsFrom(folder: string, specifier: string): boolean {
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  const parent = dirname(folder);
  return existsSync(join(folder, 'node_modules', name)) || (parent !== folder && existsFrom(parent, specifier));
}
