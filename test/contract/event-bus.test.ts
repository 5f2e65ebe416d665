import { InProcessEventBus } from '../../src/infrastructure/events/in-process-event-bus.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { describeEventBus } from './event-bus.suite.ts';

describeEventBus('in process', async () => ({ bus: new InProcessEventBus({ clock: systemClock }), settled: () => Promise.resolve() }));
