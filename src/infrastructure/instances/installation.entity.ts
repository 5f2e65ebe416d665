import { defineEntity, p } from '@mikro-orm/core';

const InstallationSchema = defineEntity({
  name: 'Installation',
  tableName: 'installation',
  properties: {
    /** Always 1: there is one row. */
    id: p.integer().primary(),
    /** Names this database among all others, wherever it is reached from. */
    uid: p.uuid(),
  },
});

export class Installation extends InstallationSchema.class {}
InstallationSchema.setClass(Installation);
