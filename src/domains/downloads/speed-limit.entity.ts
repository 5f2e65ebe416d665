import { defineEntity, p } from '@mikro-orm/core';

const SpeedLimitSchema = defineEntity({
  name: 'DownloadSpeedLimit',
  tableName: 'download_speed_limits',
  properties: {
    /** Of what; there is one, over all downloads. */
    id: p.string().primary(),
    /** Null = no limit. */
    maxBytesPerSecond: p.bigint('number').nullable(),
    /** What the setting said when this one was chosen; once that says something else, the setting counts again. */
    configuredBytesPerSecond: p.bigint('number').nullable(),
    changedAt: p.datetime(),
  },
});

/** A limit that somebody has chosen in place of the configured one. */
export class DownloadSpeedLimit extends SpeedLimitSchema.class {}
SpeedLimitSchema.setClass(DownloadSpeedLimit);
