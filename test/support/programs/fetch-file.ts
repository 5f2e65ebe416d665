/** Fetches one file from a Hub double, so that a test can kill the process in the middle: endpoint, part path, identity as JSON. */
import { readBootId } from '../../../src/domains/downloads/transfer/boot-id.ts';
import { defaultTransferSettings, transferFile } from '../../../src/domains/downloads/transfer/file-transfer.ts';
import { HostSlots } from '../../../src/domains/downloads/transfer/host-slots.ts';
import type { FileIdentity } from '../../../src/domains/downloads/transfer/sidecar.ts';
import { createByteSource } from '../../../src/domains/downloads/transfer/choose-byte-source.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { locateOnHub } from '../downloads/hub-locate.ts';
import { silentLogger } from '../silent-logger.ts';

const [endpoint = '', partPath = '', given = '{}'] = process.argv.slice(2);
const identity = JSON.parse(given) as FileIdentity;
const bytes = createByteSource({ connectTimeoutMs: 2000, userAgent: 'llm-manager/test' });
const ref = { source: 'huggingface', name: identity.modelId.replace('huggingface:', ''), revision: null };
const say = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

let said = -1;
const { sha256 } = await transferFile(
  {
    partPath,
    owner: 'test',
    identity,
    locate: (signal) => locateOnHub(endpoint, { ref, revision: identity.revision, path: identity.path }, signal),
    limits: [],
    onProgress: (done) => {
      const mebibytes = Math.floor(done / 1024 / 1024);
      if (mebibytes > said) say({ mebibytes });
      said = Math.max(said, mebibytes);
    },
    onVerifying: () => {},
  },
  { bytes, slots: new HostSlots(systemClock, 16), clock: systemClock, logger: silentLogger, bootId: readBootId(), settings: defaultTransferSettings },
  new AbortController().signal,
);
say({ sha256 });
await bytes.close();
