import type { Answers } from './answers.ts';
import type { History } from './history.ts';
import type { Sessions } from './sessions.ts';
import type { Turns } from './turns.ts';
import type { Chat } from './types.ts';

export type ChatServiceDeps = { sessions: Sessions; history: History; turns: Turns; answers: Answers; exportSession: Chat['export']; importSessions: Chat['import'] };

/** All use cases of chat under one name; each is told where it is done. */
export class ChatService implements Chat {
  readonly createSession: Chat['createSession'];
  readonly updateSession: Chat['updateSession'];
  readonly deleteSession: Chat['deleteSession'];
  readonly getSession: Chat['getSession'];
  readonly findSession: Chat['findSession'];
  readonly listSessions: Chat['listSessions'];
  readonly messages: Chat['messages'];
  readonly firstMessages: Chat['firstMessages'];
  readonly findMessage: Chat['findMessage'];
  readonly send: Chat['send'];
  readonly regenerate: Chat['regenerate'];
  readonly edit: Chat['edit'];
  readonly stop: Chat['stop'];
  readonly stream: Chat['stream'];
  readonly waitForEnd: Chat['waitForEnd'];
  readonly watchSession: Chat['watchSession'];
  readonly export: Chat['export'];
  readonly import: Chat['import'];

  constructor({ sessions, history, turns, answers, exportSession, importSessions }: ChatServiceDeps) {
    this.createSession = sessions.createSession.bind(sessions);
    this.updateSession = sessions.updateSession.bind(sessions);
    this.deleteSession = sessions.deleteSession.bind(sessions);
    this.getSession = sessions.getSession.bind(sessions);
    this.findSession = sessions.findSession.bind(sessions);
    this.listSessions = sessions.listSessions.bind(sessions);
    this.messages = history.messages.bind(history);
    this.firstMessages = history.firstMessages.bind(history);
    this.findMessage = history.findMessage.bind(history);
    this.send = turns.send.bind(turns);
    this.regenerate = turns.regenerate.bind(turns);
    this.edit = turns.edit.bind(turns);
    this.stop = answers.stop.bind(answers);
    this.stream = answers.stream.bind(answers);
    this.waitForEnd = answers.waitForEnd.bind(answers);
    this.watchSession = answers.watchSession.bind(answers);
    this.export = exportSession;
    this.import = importSessions;
  }
}
