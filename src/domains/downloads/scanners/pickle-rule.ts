import type { ScanFinding } from '../file-scanner.ts';
import { type Bytes, sliceOf } from './bounded-file.ts';
import { PickleReader } from './pickle-reader.ts';
import { isOpcode, PickleMachine } from './pickle-walker.ts';
import { findings, ScanRefusal } from './refusal.ts';

/** A pickle of one number, with which `torch.save` began its files before it made archives of them. */
const torchMagic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
/** Behind it: a version, facts about the machine, the object itself, and the keys of the tensors' bytes that follow. */
const torchPickles = 4;

/** Throws ScanRefusal for a pickle that is not harmless beyond doubt. */
export function assertHarmlessPickle(bytes: Bytes): void {
  const isTorch = bytes.readAt(0, torchMagic.length).equals(torchMagic);
  const reader = new PickleReader(bytes, isTorch ? torchMagic.length : 0);
  for (let left = isTorch ? torchPickles : 1; left > 0; left -= 1) new PickleMachine(reader).run();
  // What follows in the old format are the tensors' bytes; anywhere else it is a place to hide something.
  if (!isTorch && reader.position !== bytes.size) throw new ScanRefusal('pickle.trailing_data', 'Something follows the end of the pickle.');
}

export function scanPickle(bytes: Bytes): readonly ScanFinding[] {
  return findings(() => {
    assertHarmlessPickle(bytes);
    return [];
  });
}

/** True when a program could at least begin to read this as a pickle. */
export function couldBePickle(bytes: Bytes): boolean {
  const [first] = bytes.readAt(0, 1);
  return first !== undefined && isOpcode(first);
}

const textBytesMax = 1024 * 1024;

/** True for a text that is a pickle of the oldest kind, which has no mark of its own, and imports or calls something. */
export function isPickleInText(bytes: Bytes): boolean {
  if (bytes.size > textBytesMax || !couldBePickle(bytes)) return false;
  const machine = new PickleMachine(new PickleReader(bytes), () => undefined);
  try {
    machine.run();
    return machine.globalCount > 0;
  } catch (error) {
    if (!(error instanceof ScanRefusal)) throw error;
    // Prose may begin like an import, but not like a call of one; and what was called before the fault was called.
    return machine.callCount > 0;
  }
}

const npyHeaderBytesMax = 64 * 1024;

/** An array of Python objects is a pickle behind a header; one of numbers is not. */
export function scanNpy(bytes: Bytes): readonly ScanFinding[] {
  return findings(() => {
    const head = bytes.readAt(0, 12);
    if (head.length < 12) throw new ScanRefusal('npy.structure', 'The array ends within its header.');
    const isShort = head[6] === 1;
    const headerStart = isShort ? 10 : 12;
    const length = isShort ? head.readUInt16LE(8) : head.readUInt32LE(8);
    if (length > npyHeaderBytesMax || headerStart + length > bytes.size) throw new ScanRefusal('npy.structure', 'The header of the array is longer than any.');
    const header = bytes.readAt(headerStart, length).toString('latin1');
    if (!header.startsWith('{')) throw new ScanRefusal('npy.structure', 'The array has no header.');
    // The whole description, because a field of a record may be an object as well.
    const isPlain = /'descr':\s*'[<>|=][?biufcSUV]\d+'/.test(header) && !/'\|?O/.test(header);
    if (!isPlain) assertHarmlessPickle(sliceOf(bytes, headerStart + length, bytes.size - headerStart - length));
    return [];
  });
}
