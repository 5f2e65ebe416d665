import type { AlertChannel } from '../domains/system/alerts/alert-channel.ts';
import { abortable } from '../shared/async.ts';
import { AppError, isAppError } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';

/** A channel whose failures are told without its own words, unless it chose them for people: those may name a secret. */
export function guardAlertChannel(channel: AlertChannel, logger: Logger): AlertChannel {
  const { id, name } = channel;
  return {
    id,
    name,
    deliver: async (alert, signal) => {
      signal.throwIfAborted();
      try {
        await abortable((async () => await channel.deliver(alert, signal))(), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isAppError(error)) throw error;
        logger.warn({ channel: id, deliveryId: alert.deliveryId, err: error }, 'an alert channel failed');
        throw new AppError('INTERNAL', `The channel ${id} failed.`, { cause: error });
      }
    },
  };
}
