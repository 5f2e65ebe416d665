import type { FieldFault } from '../../../shared/errors.ts';

/** Names, numbers and lists of them; no paths, so that nothing outside the model's folder is named, and no second option. */
const value = /^[A-Za-z0-9_][A-Za-z0-9_.,:=+-]{0,199}$/;

/** Faults of arguments that are not options of the allow-list, each alone, with `=value`, or with a value after it. */
export function argumentFaults(args: readonly string[], allowed: ReadonlySet<string>): FieldFault[] {
  const faults: FieldFault[] = [];
  let takesValue = false;
  for (const [index, argument] of args.entries()) {
    const field = `config.extra_args.${index}`;
    if (argument.startsWith('-')) {
      const [name = '', ...rest] = argument.split('=');
      takesValue = rest.length === 0;
      if (!allowed.has(name)) faults.push({ field, message: `is not one of the options that may be given: ${[...allowed].join(', ')}` });
      else if (rest.length > 0 && !value.test(rest.join('='))) faults.push({ field, message: 'has a value that may not be given' });
    } else if (!takesValue || !value.test(argument)) {
      faults.push({ field, message: 'is not a value that may be given here' });
    } else takesValue = false;
  }
  return faults;
}

/** Options of llama.cpp's server that may be added to ours: how it computes, nothing that names a file, an address or another program. */
export const llamaServerArguments: ReadonlySet<string> = new Set([
  '--batch-size', '--ubatch-size', '--flash-attn', '--cache-type-k', '--cache-type-v', '--no-mmap', '--mlock', '--split-mode', '--tensor-split', '--main-gpu', '--rope-scaling',
  '--rope-scale', '--rope-freq-base', '--rope-freq-scale', '--reasoning-format', '--reasoning-budget', '--threads-batch', '--cont-batching', '--metrics', '--n-predict', '--seed',
]);
