import { defineEntity, p } from '@mikro-orm/core';

const StateEventSchema = defineEntity({
  name: 'StateEvent',
  tableName: 'state_events',
  indexes: [{ properties: ['subjectId', 'id'] }],
  properties: {
    id: p.bigint().primary().autoincrement(),
    /** Which machine: `download`, `deployment`, `chat_message`. */
    kind: p.string(),
    subjectId: p.uuid(),
    /** Null for the row's creation. */
    fromState: p.string().nullable(),
    toState: p.string(),
    reason: p.text().nullable(),
    at: p.datetime(),
  },
});

/** One change of state, written in the transaction that made it. Never updated. */
export class StateEvent extends StateEventSchema.class {}
StateEventSchema.setClass(StateEvent);
