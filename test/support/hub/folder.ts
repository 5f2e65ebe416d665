import { readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileContent } from './content.ts';
import type { FileInput } from './repos.ts';

/** All files of a folder, links followed, as a repository would hold them. */
export function readFolder(folder: string): FileInput[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => ({ path: relative(folder, path).split(sep).join('/'), content: fileContent(path) }));
}
