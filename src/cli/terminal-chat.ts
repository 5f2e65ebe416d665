import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { StopReason } from '../shared/abort.ts';
import { runChatCommand } from './chat-commands.ts';
import { readConfig } from './connect.ts';
import type { CommandContext } from './context.ts';
import type { Conversation } from './conversation.ts';
import { exitCodes, failureLine } from './failure.ts';
import { InputHistory } from './input-history.ts';
import { MessageLines } from './message-lines.ts';

/** More than any model takes; a stream that never ends must not fill the memory. */
const inputBytesMax = 16 * 1024 * 1024;

function sayGoodbye({ output }: CommandContext, conversation: Conversation): void {
  if (conversation.sessionId !== null) output.note(`The conversation is kept: llm-manager export ${conversation.sessionId}`);
}

const prompts = { first: '>>> ', more: '... ' } as const;

type Prompt = { lines: Interface; iterator: AsyncIterator<string>; history: InputHistory; screen: NodeJS.WriteStream };

function historyOf(context: CommandContext): InputHistory {
  return new InputHistory(path.join(readConfig(context).data.dir, 'chat-history'));
}

/** A prompt at a terminal until somebody ends it. */
export async function chatAtTerminal(context: CommandContext, conversation: Conversation): Promise<number | undefined> {
  const { output, interrupts, signal, stdin } = context;
  const screen = process.stdout.isTTY ? process.stdout : process.stderr;
  const history = historyOf(context);
  const lines = createInterface({ input: stdin, output: screen, terminal: true, prompt: prompts.first, history: await history.load(), historySize: 500, removeHistoryDuplicates: true });
  // In raw mode the terminal sends a character instead of the signal, and nobody passes it on a second time.
  lines.on('SIGINT', () => interrupts.raise(0));
  const close = (): void => lines.close();
  signal.addEventListener('abort', close, { once: true });
  output.note('Type a message, /help for help, /bye to end.');
  try {
    const prompt = { lines, iterator: lines[Symbol.asyncIterator](), history, screen };
    for (;;) {
      const text = await readMessage(context, prompt);
      if (signal.aborted) return exitCodes.interrupted;
      if (text === null || (await carryOut(context, conversation, text))) break;
    }
  } finally {
    signal.removeEventListener('abort', close);
    lines.close();
    await history.saved();
    sayGoodbye(context, conversation);
  }
  return undefined;
}

/** A message of one or several lines; null at the end of input. Ctrl-C leaves one that was begun. */
async function readMessage({ interrupts, signal }: CommandContext, { lines, iterator, history, screen }: Prompt): Promise<string | null> {
  const message = new MessageLines();
  const ask = (): void => {
    lines.setPrompt(message.isOpen ? prompts.more : prompts.first);
    if (!signal.aborted) lines.prompt();
  };
  let release = (): void => undefined;
  try {
    for (;;) {
      ask();
      if (message.isOpen) {
        release = interrupts.stopFirst(() => {
          message.drop();
          // What stands in the line goes as well.
          lines.write(null, { ctrl: true, name: 'e' });
          lines.write(null, { ctrl: true, name: 'u' });
          screen.write('\n');
          ask();
        });
      }
      const { done, value = '' } = (await iterator.next()) as IteratorResult<string, undefined>;
      release();
      if (done || signal.aborted) {
        // The cursor stands behind the prompt.
        screen.write('\n');
        const rest = message.rest();
        return rest.trim() === '' || signal.aborted ? null : rest;
      }
      history.add(value);
      const whole = message.take(value);
      if (whole !== null) return whole;
    }
  } finally {
    release();
  }
}

/** Answers whether the conversation is to end. What fails does not end it: the next message may do. */
async function carryOut(context: CommandContext, conversation: Conversation, text: string): Promise<boolean> {
  const { output, signal } = context;
  if (text.trim() === '') return false;
  try {
    if (text.startsWith('/') && !text.includes('\n')) return await runChatCommand(context, conversation, text);
    const { wasStopped } = await conversation.ask(text.trim());
    if (wasStopped) output.note('(stopped)');
  } catch (error) {
    if (!signal.aborted) output.note(failureLine(error));
  }
  return false;
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
