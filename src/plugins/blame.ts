import { sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const own = fileURLToPath(new URL('..', import.meta.url));
const placePattern = /(?:file:\/\/)?\/.*?(?=:\d+:\d+)/;

/**
 * Whose plug-in's code an error comes from that nobody caught: of the lines of its stack that lie in this service's code
 * or in a plug-in's, the first one tells. Null = ours, or it cannot be told.
 */
export function createBlame(plugins: readonly { name: string; folder: string }[]): (error: unknown) => string | null {
  const spellings = (folder: string): string[] => [folder.endsWith(sep) ? folder : folder + sep, pathToFileURL(folder).href.replace(/\/?$/, '/')];
  const ours = spellings(own);
  const theirs = plugins.map(({ name, folder }) => ({ name, places: spellings(folder) }));
  // A plug-in may lie in the folder of this service; what both use (undici, zod) tells nothing.
  const isIn = (place: string, folders: readonly string[]): boolean => folders.some((folder) => place.startsWith(folder) && !place.slice(folder.length).includes('node_modules/'));
  return (error) => {
    const lines = error instanceof Error ? (error.stack ?? '').split('\n').filter((line) => /^\s*at /.test(line)) : [];
    for (const [place] of lines.flatMap((line) => [placePattern.exec(line)]).filter((match) => match !== null)) {
      if (isIn(place, ours)) return null;
      const plugin = theirs.find(({ places }) => isIn(place, places));
      if (plugin) return plugin.name;
    }
    return null;
  };
}
