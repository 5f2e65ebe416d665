import { defineEntity, p } from '@mikro-orm/core';

const ServiceInstanceSchema = defineEntity({
  name: 'ServiceInstance',
  tableName: 'service_instances',
  properties: {
    id: p.uuid().primary(),
    host: p.string(),
    /** See `identifyMachine`. */
    machine: p.text(),
    pid: p.integer(),
    /** Tells the process from a later one of the same pid. */
    processStart: p.text(),
    startedAt: p.datetime(),
    /** By the database's clock, which is the same for all. */
    heartbeatAt: p.datetime(),
  },
});

/** A process that serves, or died serving; one that ends in order takes its row along. */
export class ServiceInstance extends ServiceInstanceSchema.class {}
ServiceInstanceSchema.setClass(ServiceInstance);
