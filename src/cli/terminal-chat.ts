import { createInterface } from 'node:readline';
import { StopReason } from '../shared/abort.ts';
import type { CommandContext } from './context.ts';
import type { Conversation } from './conversation.ts';
import { exitCodes, failureLine } from './failure.ts';

/** More than any model takes; a stream that never ends must not fill the memory. */
const inputBytesMax = 16 * 1024 * 1024;

const help = ['/new   begin anew', '/bye   end (also Ctrl-D)', 'Ctrl-C stops the answer, and at the prompt the program.'];

function sayGoodbye({ output }: CommandContext, conversation: Conversation): void {
  if (conversation.sessionId !== null) output.note(`The conversation is kept: llm-manager export ${conversation.sessionId}`);
}

/** A prompt at a terminal until somebody ends it. */
export async function chatAtTerminal(context: CommandContext, conversation: Conversation): Promise<number | undefined> {
  const { output, interrupts, signal, stdin } = context;
  const screen = process.stdout.isTTY ? process.stdout : process.stderr;
  const lines = createInterface({ input: stdin, output: screen, terminal: true, prompt: '>>> ', historySize: 500 });
  // In raw mode the terminal sends a character instead of the signal, and nobody passes it on a second time.
  lines.on('SIGINT', () => interrupts.raise(0));
  const close = (): void => lines.close();
  signal.addEventListener('abort', close, { once: true });
  output.note('Type a message, /help for help, /bye to end.');
  try {
    const iterator = lines[Symbol.asyncIterator]();
    for (;;) {
      if (!signal.aborted) lines.prompt();
      const { done, value } = await iterator.next();
      const text = (value ?? '').trim();
      // The cursor stands behind the prompt.
      if (done || signal.aborted) screen.write('\n');
      if (signal.aborted) return exitCodes.interrupted;
      if (done || text === '/bye') break;
      if (text === '/help') for (const line of help) output.note(line);
      else if (text === '/new') conversation.forget();
      else if (text !== '') await answer(context, conversation, text);
    }
  } finally {
    signal.removeEventListener('abort', close);
    lines.close();
    sayGoodbye(context, conversation);
  }
  return undefined;
}

/** A failed answer does not end the conversation: the next one may do. */
async function answer({ output, signal }: CommandContext, conversation: Conversation, text: string): Promise<void> {
  try {
    const { wasStopped } = await conversation.ask(text);
    if (wasStopped) output.note('(stopped)');
  } catch (error) {
    if (signal.aborted) return;
    output.note(failureLine(error));
  }
}

/** One message, one answer. */
export async function chatOnce({ interrupts }: CommandContext, conversation: Conversation, message: string): Promise<number | undefined> {
  await conversation.ask(message);
  if (interrupts.hasStopped) throw new StopReason('stopped');
  return undefined;
}

/** Each line of a standard input that is no terminal is a message. */
export async function chatByLines(context: CommandContext, conversation: Conversation): Promise<number | undefined> {
  const lines = createInterface({ input: context.stdin, crlfDelay: Infinity });
  const close = (): void => lines.close();
  context.signal.addEventListener('abort', close, { once: true });
  try {
    for await (const line of lines) {
      if (line.trim() === '') continue;
      await conversation.ask(line);
      // Nobody is there to be asked whether the next line is still wanted.
      if (context.interrupts.hasStopped) throw new StopReason('stopped');
    }
  } finally {
    context.signal.removeEventListener('abort', close);
    lines.close();
  }
  return context.signal.aborted ? exitCodes.interrupted : undefined;
}

/** Everything that standard input holds. */
export async function readAll({ stdin, signal }: CommandContext): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const close = (): void => void stdin.destroy(signal.reason as Error);
  signal.addEventListener('abort', close, { once: true });
  try {
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > inputBytesMax) throw new RangeError(`Standard input holds more than ${inputBytesMax} bytes.`);
      chunks.push(chunk);
    }
  } finally {
    signal.removeEventListener('abort', close);
  }
  return Buffer.concat(chunks).toString('utf8').trim();
}
