import { defineEntity, p } from '@mikro-orm/core';

const PartDigestsSchema = defineEntity({
  name: 'FilePartDigests',
  tableName: 'file_part_digests',
  properties: {
    /** Of the whole file, bare hex. */
    sha256: p.string().primary(),
    partBytes: p.integer(),
    /** SHA-256 of each part in turn, 64 hex digits each. */
    digests: p.text(),
  },
});

/** What tells which part of a damaged file is wrong. */
export class FilePartDigests extends PartDigestsSchema.class {}
PartDigestsSchema.setClass(FilePartDigests);
