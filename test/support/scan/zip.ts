import { crc32, deflateRawSync } from 'node:zlib';

export type ZipMember = {
  name: string;
  content: Buffer | string;
  deflated?: boolean;
  /** What the directory says in place of the truth. */
  lies?: Partial<{ name: string; sizeBytes: number; headerOffset: number; flags: number; mode: number; method: number }>;
};

export type ZipOptions = { before?: Buffer; after?: Buffer; comment?: string };

/** An archive as the format has it, or one that says different things in different places. */
export function buildZip(members: readonly ZipMember[], { before = Buffer.alloc(0), after = Buffer.alloc(0), comment = '' }: ZipOptions = {}): Buffer {
  const locals: Buffer[] = [before];
  const directory: Buffer[] = [];
  let offset = before.length;
  for (const { name, content, deflated = false, lies = {} } of members) {
    const data = Buffer.from(content);
    const packed = deflated ? deflateRawSync(data) : data;
    const method = deflated ? 8 : 0;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(crc32(data), 14);
    local.writeUInt32LE(packed.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(Buffer.byteLength(name), 26);
    locals.push(local, Buffer.from(name), packed);
    const shown = Buffer.from(lies.name ?? name);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(lies.flags ?? 0, 8);
    entry.writeUInt16LE(lies.method ?? method, 10);
    entry.writeUInt32LE(crc32(data), 16);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(lies.sizeBytes ?? data.length, 24);
    entry.writeUInt16LE(shown.length, 28);
    entry.writeUInt32LE(((lies.mode ?? 0o100644) << 16) >>> 0, 38);
    entry.writeUInt32LE(lies.headerOffset ?? offset, 42);
    directory.push(entry, shown);
    offset += local.length + Buffer.byteLength(name) + packed.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(directory.reduce((sum, part) => sum + part.length, 0), 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...locals, ...directory, end, Buffer.from(comment), after]);
}
