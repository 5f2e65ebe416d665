import type { LogEvent } from '../../../../domains/deployments/types.ts';
import type { LogLine as Line } from '../../../../shared/event-bus.ts';
import { builder } from '../../builder.ts';
import { connectionOf } from '../../connection.ts';
import { LogLevel, LogStream } from './enums.ts';

export const LogLine = builder.objectRef<Line>('LogLine').implement({
  description: 'One line of the log of a deployment.',
  fields: (t) => ({
    time: t.expose('time', { type: 'DateTime', description: 'When it was written.' }),
    stream: t.expose('stream', { type: LogStream, description: 'Who wrote it.' }),
    level: t.expose('level', { type: LogLevel, description: 'How much it matters.' }),
    message: t.exposeString('message', { description: 'The line.' }),
    run: t.exposeInt('run', { description: 'Which start of the deployment wrote it, counted from 1.' }),
    cursor: t.exposeString('cursor', { description: 'Its place in the log.' }),
  }),
});

export const LogLineConnection = connectionOf('LogLine', LogLine, 'log lines');

export const DeploymentLogEvent = builder.objectRef<LogEvent>('DeploymentLogEvent').implement({
  description: 'A new log line, or the news that some were left out because the reader was too slow.',
  fields: (t) => ({
    line: t.field({ type: LogLine, nullable: true, description: 'The line; null when this tells of lines that were left out.', resolve: (event) => (event.type === 'line' ? event.line : null) }),
    droppedLines: t.int({ description: 'How many lines were left out before the next one.', resolve: (event) => (event.type === 'dropped' ? event.lines : 0) }),
  }),
});
