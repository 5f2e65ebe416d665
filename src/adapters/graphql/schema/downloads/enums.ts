import type { DownloadStatus as Status } from '../../../../domains/downloads/download.machine.ts';
import type { ScanFinding, ScanVerdict as Verdict } from '../../../../domains/downloads/file-scanner.ts';
import type { DownloadFileStatus as FileStatus, InstalledModelView, OverrideRule, StartDownload, VolumeView } from '../../../../domains/downloads/types.ts';
import { enumOf } from '../../enums.ts';

export const DownloadStatus = enumOf<Status>('DownloadStatus', 'Where a download stands.', {
  queued: 'Waiting for its turn.',
  running: 'Bytes are coming.',
  paused: 'Held by somebody; it waits for `resumeDownload`.',
  retrying: 'Waiting for the network, the source or room on the disk; it goes on by itself.',
  verifying: 'All bytes are here and are compared with what the source promised.',
  scanning: 'The files are searched for harmful content.',
  completed: 'Done: the model is installed.',
  failed: 'Ended by an error; `retryDownload` goes on from what is there.',
  cancelled: 'Ended by somebody; the partial files are gone.',
});

export const DownloadFileStatus = enumOf<FileStatus>('DownloadFileStatus', 'Where one file of a download stands.', {
  pending: 'Not begun.',
  running: 'Bytes are coming.',
  verifying: 'Compared with what the source promised.',
  completed: 'Here and right.',
  failed: 'Ended by an error.',
});

export const DownloadTarget = enumOf<StartDownload['target']>('DownloadTarget', 'Where a model is put.', {
  local: 'On this disk, where other programs find it too.',
  ollama: "Into the Ollama server's own store, by its own pull.",
});

export const OverridableRule = enumOf<OverrideRule>('OverridableRule', 'A rule that an ADMIN may set aside; it is recorded.', {
  unsafe_format: 'Refuse formats that can run code.',
  scan: 'Refuse files in which a scan found something.',
  fit: 'Refuse models that need more memory than there is.',
});

export const ScanVerdict = enumOf<Verdict>('ScanVerdict', 'What the scanners say of a file or a model; the strictest one counts.', {
  CLEAN: 'It was looked at, and nothing was found.',
  NOT_SCANNED: 'Nobody could look into it, or into all of it: nothing is known.',
  WARN: 'Something in it should be looked at by a person.',
  BLOCKED: 'It is or may be harmful; it is here only because an administrator set the scan aside.',
});

export const FindingSeverity = enumOf<ScanFinding['severity']>('FindingSeverity', 'What follows from a finding.', {
  info: 'Nothing; it is told.',
  not_scanned: 'It could not be looked at.',
  warn: 'A person should look at it.',
  block: 'It is refused.',
});

export const VerificationStatus = enumOf<InstalledModelView['verification']>('VerificationStatus', 'What is known about the files of an installed model.', {
  verified: 'All are there and right.',
  damaged: 'Some are not what they were.',
  missing: 'Somebody removed some.',
});

export const VolumePurpose = enumOf<VolumeView['purpose']>('VolumePurpose', 'What a folder on a disk is for.', {
  data: 'Database, logs, keys.',
  models: 'Files of models.',
});
