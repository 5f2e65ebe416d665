import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/** Whether the file is there and this account may run it. */
export async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** Where a program of this name may be, in the order of the search path; what that names relative to some folder is left out. */
export function placesInPath(program: string, searchPath: string | undefined): string[] {
  return (searchPath ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder)).map((folder) => path.join(folder, program));
}

/** The first program of this name in the search path; null where there is none. */
export async function findInPath(program: string, searchPath: string | undefined): Promise<string | null> {
  for (const file of placesInPath(program, searchPath)) if (await isProgram(file)) return file;
  return null;
}
