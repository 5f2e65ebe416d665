import type { DeploymentStatus as Status, DesiredStatus as Desired } from '../../../../domains/deployments/deployment.machine.ts';
import type { DeploymentHealth, RestartPolicy as Restart } from '../../../../domains/deployments/types.ts';
import type { LogLevel as Level, LogLine } from '../../../../shared/event-bus.ts';
import { enumOf } from '../../enums.ts';

export const DeploymentStatus = enumOf<Status>('DeploymentStatus', 'Where a deployment stands.', {
  pending: 'Waiting for its start.',
  starting: 'The model is being loaded.',
  running: 'It answers.',
  unhealthy: 'It runs and does not answer.',
  restarting: 'It ended and is about to be started again.',
  stopping: 'Running answers are being finished.',
  stopped: 'It does not run.',
  failed: 'It was given up; `error` says why.',
});

export const DesiredStatus = enumOf<Desired>('DesiredStatus', 'What was last asked for.', { running: 'It is meant to run.', stopped: 'It is meant to be stopped.' });

export const HealthStatus = enumOf<DeploymentHealth['status']>('HealthStatus', 'What the last health check said.', {
  unknown: 'None was made yet.',
  healthy: 'It answered.',
  unhealthy: 'It did not answer.',
});

export const RestartWhen = enumOf<Restart['policy']>('RestartWhen', 'When a deployment that ended is started again.', {
  always: 'However it ended.',
  on_failure: 'When it ended by an error.',
  never: 'Never.',
});

export const LogLevel = enumOf<Level>('LogLevel', 'How much a log line matters.', {
  debug: 'For those who look for a fault.',
  info: 'What happens.',
  warn: 'Something that may become a fault.',
  error: 'A fault.',
});

export const LogStream = enumOf<LogLine['stream']>('LogStream', 'Who wrote a log line.', {
  stdout: "The engine's standard output.",
  stderr: "The engine's standard error.",
  supervisor: 'This service, about the engine.',
});

export const DeploymentOverride = enumOf<'fit'>('DeploymentOverride', 'A rule that an ADMIN may set aside when starting; it is recorded.', {
  fit: 'Refuse models that need more memory than there is.',
});
