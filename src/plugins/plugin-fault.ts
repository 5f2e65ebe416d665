/** Why a module or a plug-in cannot be used; the message is one line for a person. */
export class PluginFault extends Error {
  override readonly name = 'PluginFault';
}

/** What was thrown, in one line that is not too long. */
export function firstLine(error: unknown): string {
  const [line = ''] = (error instanceof Error ? error.message : String(error)).trim().split('\n');
  return line.slice(0, 300) || 'no reason was given';
}
