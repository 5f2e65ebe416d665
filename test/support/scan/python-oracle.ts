/** Asks Python itself what a pickle or an archive of them would import. Nothing is ever imported or called:
 * an empty dictionary stands in for whatever is asked for. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Import } from './pickles.ts';

const program = `
import sys, io, base64, json, pickle, zipfile, resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
class Harmless(dict):
    def __init__(self, *a, **k): dict.__init__(self)
    def __setstate__(self, state): pass
    def append(self, x): pass
    def extend(self, x): pass
def look(data):
    found = []
    class Reader(pickle._Unpickler):
        def find_class(self, module, name):
            found.append([str(module), str(name)])
            return Harmless
        def persistent_load(self, pid):
            return None
    try:
        stream = io.BytesIO(data)
        # torch.load reads five from a file of its old form, everybody else one.
        for _ in range(5):
            Reader(stream).load()
    except BaseException:
        pass
    return found
for line in sys.stdin:
    data = base64.b64decode(line)
    found = look(data)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        for name in archive.namelist()[:100]:
            if name.endswith('.pkl'): found += look(archive.read(name))
    except BaseException:
        pass
    print(json.dumps(found[:100]), flush=True)
`;

export type PythonOracle = { importsOf(bytes: Buffer): Promise<Import[]>; close(): void };

/** Null where there is no Python. */
export async function startPythonOracle(): Promise<PythonOracle | null> {
  const child = spawn('python3', ['-I', '-c', program], { stdio: ['pipe', 'pipe', 'ignore'] });
  const isThere = await new Promise<boolean>((resolve) => child.once('spawn', () => resolve(true)).once('error', () => resolve(false)));
  if (!isThere) return null;
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    importsOf: async (bytes) => {
      child.stdin.write(`${bytes.toString('base64')}\n`);
      const line = await lines.next();
      if (line.done === true) throw new Error('Python has ended');
      return (JSON.parse(line.value) as [string, string][]).map(([module, name]) => ({ module, name }));
    },
    close: () => void child.stdin.end(),
  };
}
